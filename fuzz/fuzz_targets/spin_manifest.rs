//! An application's spin.toml. The module is taken by its file: the package around it brings all of wasmtime.

#![no_main]
#![allow(dead_code, reason = "the host uses more of it")]

#[path = "../../src/host/manifest.rs"]
mod manifest;
#[path = "../../src/host/routing.rs"]
mod routing;
#[path = "../../src/host/variables.rs"]
mod variables;

use libfuzzer_sys::fuzz_target;
use manifest::Manifest;
use variables::Provider;

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::parse(text) else { return };
    let provider = Provider::fixed([("name", "value")]);
    for component in manifest.component.values() {
        let _ = manifest.component_variables(component, &provider);
    }
});
