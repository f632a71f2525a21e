//! Leaving out of a core module what it says of interfaces that it does not use.
//!
//! The SDK describes every interface of Spin in every module, databases and language models among them: 80 kB, which
//! whoever turns the module into a component reads and throws away. Here only those stay that the module imports or
//! exports, and what their types are made of. The module itself is not touched.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use wasm_encoder::{CustomSection, Section};
use wasmparser::{Parser, Payload};
use wit_component::StringEncoding;
use wit_component::metadata::{decode, encode};
use wit_parser::{InterfaceId, WorldItem};

use crate::host::componentize::componentize;

/// Slims the file at `path` in place, unless that gains nothing. What is no core module stays as it is.
pub fn slim_file(path: &Path) -> anyhow::Result<()> {
    let wasm = std::fs::read(path)?;
    if !Parser::is_core_wasm(&wasm) {
        return Ok(());
    }
    let slim = slim(&wasm)?;
    if slim.len() < wasm.len() {
        // Renamed, so that nobody reads half of it, and so that cargo's own copy stays what cargo made.
        let beside = path.with_extension("slim");
        std::fs::write(&beside, slim)?;
        std::fs::rename(&beside, path)?;
    }
    Ok(())
}

/// The module with only the descriptions that it needs.
fn slim(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let imports = imports(wasm)?;
    let (module, mut bound) = decode(wasm)?;
    let mut module = module.context("nothing describes the module's interfaces")?;
    let resolve = &bound.resolve;
    let world = resolve.worlds.get(bound.world).context("no world")?;
    let interface = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    };
    let imported = world.imports.iter().filter(|(key, _)| imports.contains(&resolve.name_world_key(key)));
    let mut kept = BTreeSet::new();
    let mut open: Vec<InterfaceId> =
        imported.map(|(_, item)| item).chain(world.exports.values()).filter_map(interface).collect();
    while let Some(id) = open.pop() {
        if kept.insert(id) {
            open.extend(resolve.interface_direct_deps(id));
        }
    }
    let world = bound.resolve.worlds.get_mut(bound.world).context("no world")?;
    world.imports.retain(|_, item| interface(item).is_some_and(|id| kept.contains(&id)));
    // Whoever reads the description merges it into a package of the name that this one has had so far.
    let package = world.package.context("a world without a package")?;
    let package = bound.resolve.packages.get_mut(package).context("no package")?;
    package.name.namespace = "slim".to_owned();
    // With the tools that made the module: by wit-bindgen's version there, Spin tells how it is to be wrapped.
    let description = encode(&bound.resolve, bound.world, StringEncoding::UTF8, bound.producers.as_ref())?;
    CustomSection { name: "component-type".into(), data: description.into() }.append_to(&mut module);
    // What does not become a component is not worth its size.
    componentize(&module)?;
    Ok(module)
}

/// The names that a module imports from.
fn imports(wasm: &[u8]) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                names.insert(import?.module.to_owned());
            }
        }
    }
    Ok(names)
}
