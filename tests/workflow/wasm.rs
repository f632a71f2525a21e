//! The built files are what any Spin since 3.0 runs: only these imports, this export, small, and with all the memory
//! that they need from the start.

use wasmparser::{Parser, Payload};
use wit_component::metadata::decode;

use crate::support::built;

const IMPORTS: &[&str] = &[
    "wasi:http/types@0.2.0",
    "wasi:http/outgoing-handler@0.2.0",
    "wasi:io/error@0.2.0",
    "wasi:io/poll@0.2.0",
    "wasi:io/streams@0.2.0",
    "fermyon:spin/key-value@2.0.0",
    "fermyon:spin/variables@2.0.0",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi_snapshot_preview1",
];

/// docs/performance.md tells what is in it.
const LARGEST: usize = 800_000;
/// 4 MiB in pages of 64 KiB, as .cargo/config.toml has it.
const INITIAL_PAGES: u64 = 64;

#[test]
fn imports_exports_and_size() {
    built();
    for name in ["webhook", "runner", "cluster", "tick"] {
        let path = format!("{}/target/wasm32-wasip1/wasm/gha_slurm_{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let wasm = std::fs::read(&path).unwrap();
        // The tick has the flow of a delivery as well, and the read model.
        let largest = match name {
            "tick" => 1_440_000,
            "webhook" => 940_000,
            _ => LARGEST,
        };
        assert!(wasm.len() < largest, "{name} has {} bytes", wasm.len());
        let mut exports = Vec::new();
        for payload in Parser::new(0).parse_all(&wasm) {
            match payload.unwrap() {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let module = import.unwrap().module;
                        assert!(IMPORTS.contains(&module), "{name} imports {module}");
                    }
                }
                Payload::MemorySection(section) => {
                    let pages: Vec<u64> = section.into_iter().map(|memory| memory.unwrap().initial).collect();
                    assert_eq!(pages, [INITIAL_PAGES], "{name}: .cargo/config.toml was not heeded");
                }
                Payload::ExportSection(section) => {
                    exports.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
                }
                _ => {}
            }
        }
        assert!(exports.iter().any(|export| export == "wasi:http/incoming-handler@0.2.0#handle"), "{exports:?}");
    }
}

/// Spin takes a module that does not say so for one of before its 1.0, and refuses what it imports.
#[test]
fn they_say_which_wit_bindgen_made_them() {
    built();
    for name in ["webhook", "runner", "cluster", "tick", "console", "setup"] {
        let wasm =
            std::fs::read(format!("{}/target/wasm32-wasip1/wasm/gha_slurm_{name}.wasm", env!("CARGO_MANIFEST_DIR")));
        let (_, described) = decode(&wasm.unwrap()).unwrap();
        let producers = described.producers.expect("tools that made it");
        let processors = producers.get("processed-by").expect("tools that processed it");
        let version = processors.iter().find(|(tool, _)| tool.starts_with("wit-bindgen")).map(|(_, version)| version);
        let minor = version.and_then(|version| version.strip_prefix("0.")?.split('.').next()?.parse::<u32>().ok());
        assert!(minor.is_some_and(|minor| minor >= 5), "{name}: {version:?}");
    }
}
