//! The pages' style sheet, script and icon. Pages name them with a version, so that browsers may cache them forever.

use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;

use super::secured;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

pub(super) fn style() -> String {
    versioned("/assets/console.css", STYLE)
}

pub(super) fn script() -> String {
    versioned("/assets/console.js", SCRIPT)
}

pub(super) fn icon() -> String {
    versioned("/assets/icon.svg", ICON)
}

pub(super) fn answer(request: &Request) -> Answer {
    let (kind, text) = match request.path() {
        "/assets/console.css" => ("text/css; charset=utf-8", STYLE),
        "/assets/console.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/assets/icon.svg" => ("image/svg+xml", ICON),
        _ => return secured(Answer::error(404, "there is no such file")),
    };
    let mut answer = Answer::text(kind, text.to_owned());
    if request.target.contains("?v=") {
        answer.headers = vec![("cache-control", "public, max-age=31536000, immutable".to_owned())];
    }
    secured(answer)
}

fn versioned(path: &str, text: &str) -> String {
    // FNV-1a: it only has to tell versions of a file apart.
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = text.bytes().fold(0x811c_9dc5, step);
    format!("{path}?v={hash:08x}")
}
