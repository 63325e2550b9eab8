//! Image files: finding, drawing and filtering them, and writing them whole or not at all.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Rgb, RgbImage};

/// What a file is called until all of it is written.
const PART: &str = "part";

/// The PNG and JPEG files of a folder, in the order of their names.
///
/// # Errors
/// When the folder can't be read.
pub fn photos(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_photo = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        path.is_file() && extension.is_some_and(|extension| matches!(&*extension, "png" | "jpg" | "jpeg"))
    };
    let mut photos = Vec::new();
    for entry in fs::read_dir(folder)? {
        photos.push(entry?.path());
    }
    photos.retain(is_photo);
    photos.sort();
    Ok(photos)
}

/// Reads an image file; what is in it decides, not its name.
///
/// # Errors
/// When it can't be read, or is no image.
pub fn load(path: &Path) -> Result<RgbImage, LoadError> {
    let read = || Ok(ImageReader::open(path)?.with_guessed_format()?.decode()?.into_rgb8());
    read().map_err(|source| LoadError { path: path.to_owned(), source })
}

/// An image file that can't be read, or is none.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    source: ImageError,
}

impl LoadError {
    /// Whether the file is no image, so that reading it again is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self.source, ImageError::IoError(_))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be read as an image", self.path.display())
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Writes a PNG file, whole or not at all.
///
/// # Errors
/// When it can't be encoded or written.
pub fn save(image: RgbImage, path: &Path) -> Result<(), ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(write_whole(path, bytes.get_ref())?)
}

/// Writes a file under a temporary name, syncs it and renames it: nobody ever sees a part of it.
///
/// # Errors
/// When it can't be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    let part = PathBuf::from(name);
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

/// Makes the folder, removes what was only partly written, and says how many files that were.
///
/// # Errors
/// When the folder can't be made or cleaned.
pub fn clean(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(PART)) {
            fs::remove_file(path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Broad strokes in few colours: each pixel takes the commonest brightness around it.
#[must_use]
pub fn water_color(image: &RgbImage) -> RgbImage {
    const LEVELS: usize = 8;
    const STROKE: u32 = 2;
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let mut tally = [(0_u32, [0_u32; 3]); LEVELS];
        for near_y in y.saturating_sub(STROKE)..=(y + STROKE).min(height - 1) {
            for near_x in x.saturating_sub(STROKE)..=(x + STROKE).min(width - 1) {
                let color = image.get_pixel(near_x, near_y).0;
                let level = color.iter().map(|part| usize::from(*part)).sum::<usize>() * LEVELS / 766;
                let (count, sum) = &mut tally[level];
                *count += 1;
                sum.iter_mut().zip(color).for_each(|(sum, part)| *sum += u32::from(part));
            }
        }
        let (count, sum) = tally.iter().copied().max_by_key(|(count, _)| *count).unwrap_or_default();
        Rgb(sum.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX)))
    })
}

/// Without colours.
#[must_use]
pub fn gray_scale(image: &RgbImage) -> RgbImage {
    DynamicImage::ImageLuma8(imageops::grayscale(image)).into_rgb8()
}

/// Out of focus.
#[must_use]
pub fn blur(image: &RgbImage, radius: u8) -> RgbImage {
    imageops::blur(image, f32::from(radius.max(1)) / 2.0)
}

/// All pictures in one, small, `columns` side by side.
#[must_use]
pub fn contact_sheet(pictures: &[RgbImage], columns: u32) -> RgbImage {
    const TILE: u32 = 96;
    let columns = columns.max(1);
    let rows = u32::try_from(pictures.len()).unwrap_or(u32::MAX).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * TILE, rows.max(1) * TILE, Rgb([240, 240, 235]));
    for (place, picture) in (0_u32..).zip(pictures) {
        let small =
            DynamicImage::ImageRgb8(picture.clone()).resize(TILE - 8, TILE - 8, FilterType::Triangle).into_rgb8();
        let (x, y) = (place % columns * TILE, place / columns * TILE);
        let (left, top) = (x + (TILE - small.width()) / 2, y + (TILE - small.height()) / 2);
        imageops::replace(&mut sheet, &small, left.into(), top.into());
    }
    sheet
}

/// A landscape of its own for each seed: sky, sun and hills. The files in `images/` are of this kind.
#[must_use]
pub fn draw(seed: u32, width: u32, height: u32) -> RgbImage {
    let byte = |n: u32| u8::try_from(n % 256).unwrap_or(0);
    let (sun_x, sun_y) = (width * (seed % 5 + 1) / 6, height / 4);
    let hill = |x: u32, n: u32| {
        let along = f64::from(x) / f64::from(width) * 6.0 + f64::from(seed * 7 + n * 3);
        f64::from(height) * (0.5 + 0.15 * f64::from(n) + 0.12 * along.sin())
    };
    RgbImage::from_fn(width, height, |x, y| {
        let from_sun = x.abs_diff(sun_x).pow(2) + y.abs_diff(sun_y).pow(2);
        if let Some(n) = (0..3).rev().find(|n| f64::from(y) > hill(x, *n)) {
            return Rgb([byte(40 + seed * 31 + n * 20), byte(90 + n * 45), byte(50 + seed * 17)]);
        }
        if from_sun < (height / 8).pow(2) {
            return Rgb([250, 220, 120]);
        }
        Rgb([byte(120 + y * 90 / height), byte(160 + y * 60 / height), 230])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_images_are_drawn_here() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for (seed, name) in (1..).zip(SHIPPED) {
            assert_eq!(load(&folder.join(name)).unwrap(), draw(seed, 320, 240), "{name}");
        }
        assert_eq!(photos(&folder).unwrap().len(), SHIPPED.len());
    }

    const SHIPPED: [&str; 4] = ["dawn.png", "hills.png", "noon.png", "valley.png"];

    /// Draws them anew: `cargo test -p workman-examples draw_the_shipped -- --ignored`.
    #[test]
    #[ignore = "writes into the source tree"]
    fn draw_the_shipped_images() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for (seed, name) in (1..).zip(SHIPPED) {
            save(draw(seed, 320, 240), &folder.join(name)).unwrap();
        }
    }

    #[test]
    fn filters_keep_the_size() {
        let image = draw(3, 40, 30);
        for filtered in [water_color(&image), gray_scale(&image), blur(&image, 4)] {
            assert_eq!(filtered.dimensions(), (40, 30));
            assert_ne!(filtered, image);
        }
        assert_eq!(contact_sheet(&[image.clone(), image.clone(), image], 2).dimensions(), (192, 192));
    }
}
