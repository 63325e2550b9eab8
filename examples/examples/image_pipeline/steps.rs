//! The workers. Each is a plain function that may be run twice: it writes whole files under names that depend on its input.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::RgbImage;
use serde::{Deserialize, Serialize};
use workman_core::{Backoff, WorkContext, worker};
use workman_examples::cli::Failure;
use workman_examples::gallery::{self, LoadError};
use workman_examples::journal::Journal;
use workman_examples::loopback;

/// What the works need of this process. It is no input: a later process has another.
#[derive(Clone)]
pub(crate) struct Studio {
    pub(crate) journal: Journal,
    pub(crate) slow: Duration,
    pub(crate) http: ureq::Agent,
    pub(crate) server: SocketAddr,
}

impl Studio {
    /// Writes down that the effect begins and ends, so that effects can be compared with attempts.
    fn step<T>(&self, cx: &WorkContext, effect: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        cx.sleep_blocking(self.slow)?;
        self.journal.around(cx, effect)
    }
}

/// How far a blur reaches, in pixels.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Radius(pub(crate) u8);

/// One photo after one filter, in a file that only the works know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Picture {
    pub(crate) photo: PathBuf,
    pub(crate) file: PathBuf,
}

/// Everything that is to be delivered.
#[derive(Serialize, Deserialize)]
pub(crate) struct Album {
    pub(crate) sheet: PathBuf,
    pub(crate) pictures: Vec<Picture>,
}

const SOON: Backoff = Backoff::linear(Duration::from_secs(1));

/// Makes the folders and removes what an earlier run left half-written.
#[worker(backoff = SOON)]
pub(crate) fn clean_up(cx: &WorkContext, #[state] studio: Studio, out: PathBuf) -> Result<usize, Failure> {
    studio.step(cx, || Ok(gallery::clean(&out)? + gallery::clean(&staging(&out))?))
}

/// Paints a photo anew.
#[worker(backoff = SOON, permanent = is_no_image)]
pub(crate) fn water_color(
    cx: &WorkContext,
    #[state] studio: Studio,
    photo: PathBuf,
    out: PathBuf,
) -> Result<Picture, Failure> {
    studio.step(cx, || filter(photo, &out, "water_color", gallery::water_color))
}

/// Takes the colours away.
#[worker(backoff = SOON, permanent = is_no_image)]
pub(crate) fn gray_scale(
    cx: &WorkContext,
    #[state] studio: Studio,
    photo: PathBuf,
    out: PathBuf,
) -> Result<Picture, Failure> {
    studio.step(cx, || filter(photo, &out, "gray_scale", gallery::gray_scale))
}

/// Puts a photo out of focus.
#[worker(backoff = SOON, permanent = is_no_image)]
pub(crate) fn blur(
    cx: &WorkContext,
    #[state] studio: Studio,
    photo: PathBuf,
    out: PathBuf,
    radius: Radius,
) -> Result<Picture, Failure> {
    studio.step(cx, || filter(photo, &out, "blur", |image| gallery::blur(image, radius.0)))
}

/// Joins: one small picture of each, a row for each photo.
#[worker(backoff = SOON)]
pub(crate) fn contact_sheet(
    cx: &WorkContext,
    #[state] studio: Studio,
    #[prerequisites] pictures: Vec<Picture>,
    out: PathBuf,
) -> Result<Album, Failure> {
    studio.step(cx, || {
        let images = pictures.iter().map(|picture| gallery::load(&picture.file)).collect::<Result<Vec<_>, _>>()?;
        let sheet = staging(&out).join("contact-sheet.png");
        gallery::save(gallery::contact_sheet(&images, 3), &sheet)?;
        Ok(Album { sheet, pictures })
    })
}

/// Copies the pictures of one photo, and the sheet, into the gallery.
#[worker(backoff = SOON)]
pub(crate) fn save_to_gallery(
    cx: &WorkContext,
    #[state] studio: Studio,
    #[prerequisite] album: Album,
    photo: PathBuf,
    out: PathBuf,
) -> Result<usize, Failure> {
    studio.step(cx, || {
        let files = files_of(&album, &photo);
        for file in &files {
            gallery::write_whole(&out.join(file.file_name().unwrap_or_default()), &fs::read(file)?)?;
        }
        Ok(files.len())
    })
}

/// Sends the pictures of one photo, and the sheet, to the server.
#[worker(backoff = SOON)]
pub(crate) fn upload(
    cx: &WorkContext,
    #[state] studio: Studio,
    #[prerequisite] album: Album,
    photo: PathBuf,
) -> Result<usize, Failure> {
    studio.step(cx, || {
        let files = files_of(&album, &photo);
        for file in &files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let url = format!("http://{}/{}", studio.server, loopback::encoded(&name));
            studio.http.put(url).send(&fs::read(file)?)?;
        }
        Ok(files.len())
    })
}

fn filter(photo: PathBuf, out: &Path, filter: &str, apply: impl Fn(&RgbImage) -> RgbImage) -> Result<Picture, Failure> {
    let image = gallery::load(&photo)?;
    let name = photo.file_name().unwrap_or_default().to_string_lossy().replace('.', "-");
    let file = staging(out).join(format!("{name}-{filter}.png"));
    gallery::save(apply(&image), &file)?;
    Ok(Picture { photo, file })
}

/// A file that is no image does not become one by trying again.
fn is_no_image(error: &Failure) -> bool {
    error.downcast_ref().is_some_and(LoadError::is_permanent)
}

/// The photo that comes first delivers the sheet.
fn files_of<'a>(album: &'a Album, photo: &Path) -> Vec<&'a Path> {
    let is_first = album.pictures.first().is_some_and(|first| first.photo == photo);
    let pictures = album.pictures.iter().filter(|picture| picture.photo == photo).map(|picture| &*picture.file);
    is_first.then_some(&*album.sheet).into_iter().chain(pictures).collect()
}

fn staging(out: &Path) -> PathBuf {
    out.join(".staging")
}
