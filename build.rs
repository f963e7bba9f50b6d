//! Packs the dashboard's files for the program: each compressed, with the address that it is served at.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const FOLDER: &str = "src/dashboard";

/// Files with these ends (or names) are served; what is there for making them is not.
const MEDIA: [(&str, &str); 5] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    // The licences of what is not ours go with it.
    ("LICENSES", "text/plain; charset=utf-8"),
];

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = Vec::new();
    find(Path::new(FOLDER), &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (at, file) in files.iter().enumerate() {
        let end = file.extension().or(file.file_name()).and_then(|end| end.to_str()).unwrap_or_default();
        if file.ends_with("vendor/entry.js") {
            continue;
        }
        let Some((_, media)) = MEDIA.iter().find(|(known, _)| *known == end) else { continue };
        let bytes = fs::read(file)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&bytes)?;
        let name = out.join(format!("{at}.gz"));
        fs::write(&name, packed.finish()?)?;
        let mut hash = DefaultHasher::new();
        hash.write(&bytes);
        let path = file.strip_prefix(FOLDER).unwrap_or(file).to_string_lossy().into_owned();
        let path = if path == "index.html" { String::from("/") } else { format!("/{path}") };
        table.push_str(&format!(
            "    Asset {{ path: {path:?}, media: {media:?}, etag: {:?}, packed: include_bytes!({name:?}) }},\n",
            format!("\"{:016x}\"", hash.finish())
        ));
    }
    table.push_str("]\n");
    fs::write(out.join("dashboard.rs"), table)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { find(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
