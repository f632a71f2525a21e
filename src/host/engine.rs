//! The engine: compiles components, or takes them from the folder of compiled code, and keeps the pool that instances
//! come from.
//!
//! The pool is what makes a fresh instance cheap: memory, tables and stacks are laid out once; an instance's memory
//! begins as a copy-on-write view of the component's image, and is put back to it afterwards. Where the kernel can tell
//! which pages an instance wrote (`PAGEMAP_SCAN`), only these are put back, without giving them up and faulting them in
//! again.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::componentize::componentize;
use super::limits::Limits;
use super::precompiled::Precompiled;
use super::sandbox::{Imports, State};

/// How often a computing guest lets others run.
const EPOCH: Duration = Duration::from_millis(10);
/// What of a memory stays with a slot of the pool once its instance is gone. This project's components write less.
const KEEP_RESIDENT: usize = 1024 * 1024;
/// A component made of a core module has that, the adapter, and two small ones between them.
const CORE_INSTANCES: u32 = 4;

/// Compiles and links.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Arc<Linker<State>>,
    precompiled: Option<Precompiled>,
}

impl Engine {
    /// An engine with a pool for as many instances as the limits allow. Compiled code is kept in, and taken from,
    /// `precompiled`.
    pub fn new(limits: &Limits, precompiled: Option<Precompiled>) -> wasmtime::Result<Self> {
        let instances = limits.instances;
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
            .total_memories(instances)
            .total_tables(instances.saturating_mul(CORE_INSTANCES))
            .total_stacks(instances)
            .max_memory_size(limits.memory)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(KEEP_RESIDENT)
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_init_cow(true)
            .epoch_interruption(true)
            .wasm_component_model(true);
        let engine = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Imports::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;

        let ticker = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticker.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        });
        Ok(Self { engine, linker: Arc::new(linker), precompiled })
    }

    /// Loads a component, or a core module as `wasm32-wasip1` gives it. An import that this host does not offer is an
    /// error that names it. Whether it had to be compiled, which takes a second or so, is the second value.
    pub fn load(&self, wasm: &[u8]) -> wasmtime::Result<(ProxyPre<State>, bool)> {
        let kept = self.precompiled.as_ref().and_then(|precompiled| precompiled.get(&self.engine, wasm));
        let compiled = kept.is_none();
        let component = match kept {
            Some(component) => component,
            None => self.compile(wasm)?,
        };
        Ok((ProxyPre::new(self.linker.instantiate_pre(&component)?)?, compiled))
    }

    fn compile(&self, wasm: &[u8]) -> wasmtime::Result<Component> {
        let component =
            Component::new(&self.engine, componentize(wasm).map_err(|error| wasmtime::format_err!("{error:#}"))?)?;
        if let Some(precompiled) = &self.precompiled
            && let Err(error) = precompiled.keep(&self.engine, wasm, &component)
        {
            tracing::warn!("compiled code is not kept for the next start: {error:#}");
        }
        Ok(component)
    }
}
