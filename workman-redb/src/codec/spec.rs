//! The body of a [`WorkSpec`]: what a request said.

use std::sync::Arc;

use workman_core::store::{Codec, Prerequisites, SerialLane, WorkSpec};
use workman_core::{ConstraintKind, Constraints, InputMerger, InputShape, NetworkType, Payload};

use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

/// What a request said, without its input's codec, which the envelope carries. The input lies at the end, as it is.
pub(crate) fn write_spec(spec: &WorkSpec, to: &mut Writer) -> Encoded {
    to.text(&spec.worker);
    to.list(&spec.tags, |to, tag| {
        to.text(tag);
        Ok(())
    })?;
    to.option(spec.name.as_ref(), |to, name| {
        to.text(name);
        Ok(())
    })?;
    spec.constraints.write(to)?;
    to.byte(match spec.prerequisites.shape {
        InputShape::Nothing => 0,
        InputShape::One => 1,
        InputShape::List => 2,
        InputShape::Tuple => 3,
        InputShape::Merged(InputMerger::Overwriting) => 4,
        InputShape::Merged(InputMerger::ArrayCreating) => 5,
    });
    to.list(&spec.prerequisites.ids, |to, id| {
        to.id(*id);
        Ok(())
    })?;
    let texts = [&spec.trace_tag, &spec.traceparent];
    let (is_keyed, is_serial) = (spec.limit_key.is_some(), spec.serial.is_some());
    to.bits([texts[0].is_some(), texts[1].is_some(), spec.worker_version > 0, is_keyed, is_serial]);
    texts.into_iter().flatten().for_each(|text| to.text(text));
    if spec.worker_version > 0 {
        to.u32(spec.worker_version);
    }
    spec.limit_key.iter().for_each(|key| to.text(key));
    spec.serial.iter().try_for_each(|serial| serial.write(to))?;
    to.rest(spec.input.bytes());
    Ok(())
}

/// `worker` is shared if it is the one that is named, so that the works of one lane do not each bring a copy of its name.
pub(crate) fn read_spec(codec: u8, worker: Option<&Arc<str>>, from: &mut Reader<'_>) -> Decoded<WorkSpec> {
    let name = from.text()?;
    let worker = worker.filter(|worker| ***worker == *name).map_or_else(|| Arc::from(name), Arc::clone);
    let tags = from.list(Reader::shared_text)?;
    let name = from.option(Reader::shared_text)?;
    let constraints = Constraints::read(from)?;
    let shape = match from.byte()? {
        0 => InputShape::Nothing,
        1 => InputShape::One,
        2 => InputShape::List,
        3 => InputShape::Tuple,
        4 => InputShape::Merged(InputMerger::Overwriting),
        5 => InputShape::Merged(InputMerger::ArrayCreating),
        byte => return Err(CodecError::Unknown("input shape", byte)),
    };
    let prerequisites = Prerequisites { shape, ids: from.list(Reader::id)? };
    let [is_tagged, has_parent, has_version, is_keyed, is_serial] = from.bits("part of a spec")?;
    let trace_tag = is_tagged.then(|| from.shared_text()).transpose()?;
    let traceparent = has_parent.then(|| from.shared_text()).transpose()?;
    let worker_version = if has_version { from.u32()? } else { 0 };
    let limit_key = is_keyed.then(|| from.shared_text()).transpose()?;
    let serial = is_serial.then(|| SerialLane::read(from)).transpose()?;
    let input = Payload::new(Codec::from_code(codec), from.rest());
    Ok(WorkSpec {
        worker,
        input,
        tags,
        name,
        constraints,
        prerequisites,
        trace_tag,
        traceparent,
        worker_version,
        limit_key,
        serial,
    })
}

impl Body for Constraints {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(match self.network_type() {
            NetworkType::NotRequired => 0,
            NetworkType::Connected => 1,
            NetworkType::Unmetered => 2,
            NetworkType::NotRoaming => 3,
            NetworkType::Metered => 4,
            NetworkType::TemporarilyUnmetered => 5,
        });
        to.bits([
            self.requires(ConstraintKind::Charging),
            self.requires(ConstraintKind::BatteryNotLow),
            self.requires(ConstraintKind::StorageNotLow),
            self.requires(ConstraintKind::DeviceIdle),
        ]);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let mut constraints = Constraints::new().network(match from.byte()? {
            0 => NetworkType::NotRequired,
            1 => NetworkType::Connected,
            2 => NetworkType::Unmetered,
            3 => NetworkType::NotRoaming,
            4 => NetworkType::Metered,
            5 => NetworkType::TemporarilyUnmetered,
            byte => return Err(CodecError::Unknown("network", byte)),
        });
        let [charging, battery_not_low, storage_not_low, device_idle] = from.bits("constraint")?;
        if charging {
            constraints = constraints.requires_charging();
        }
        if battery_not_low {
            constraints = constraints.requires_battery_not_low();
        }
        if storage_not_low {
            constraints = constraints.requires_storage_not_low();
        }
        if device_idle {
            constraints = constraints.requires_device_idle();
        }
        Ok(constraints)
    }
}
