//! From the core module that `wasm32-wasip1` gives to a component, as Spin does it when it loads one.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// Byte 6 of the header tells a component's layer from a core module's.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// Wraps a core module; a component is returned as it is.
pub fn componentize(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    if wasm.starts_with(COMPONENT_HEADER) {
        return Ok(wasm.to_vec());
    }
    ComponentEncoder::default()
        .validate(true)
        .module(wasm)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_wasm_is_an_error() {
        assert!(componentize(b"").is_err());
        assert!(componentize(b"#!/bin/sh").is_err());
    }
}
