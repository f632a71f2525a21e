//! One fresh, bounded instance per request. A guest is trusted with nothing: it sees no file and no environment, only the
//! variables, stores and hosts that the manifest names for it.

pub mod imports;

pub(super) use self::imports::bindings::Imports;

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::key_value::KeyValue;
use super::outbound::{AllowedHosts, Client, OutboundHttp};
use super::variables::VariableError;

/// What a guest may print for one request.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// A component that is ready to serve.
pub struct Guest {
    /// Its id in the manifest.
    pub id: String,
    /// Compiled and linked.
    pub pre: ProxyPre<State>,
    /// Its variables, or why one has no value.
    pub variables: BTreeMap<String, Result<String, VariableError>>,
    /// Where it may go.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// How it goes there.
    pub client: Client,
    /// The stores that it may open.
    pub stores: Vec<String>,
    /// Where their values are.
    pub key_value: KeyValue,
    /// The most memory of one instance, in bytes.
    pub memory_limit: usize,
    /// Whether what it prints is left out of the log.
    pub quiet: bool,
}

/// What one instance has of the world.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: OutboundHttp,
    limits: StoreLimits,
    guest: Arc<Guest>,
    output: MemoryOutputPipe,
}

impl Guest {
    /// A store with the world of one request.
    pub fn instance_state(self: &Arc<Self>) -> Store<State> {
        let output = MemoryOutputPipe::new(OUTPUT_LIMIT);
        let state = State {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().stdout(output.clone()).stderr(output.clone()).build(),
            http: WasiHttpCtx::new(),
            outbound: OutboundHttp::new(&self.id, &self.allowed_hosts, &self.client),
            limits: StoreLimitsBuilder::new().memory_size(self.memory_limit).build(),
            guest: Arc::clone(self),
            output,
        };
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.limits);
        // A computing guest gives way; whoever polls it counts its time and ends it.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.guest.quiet {
            return;
        }
        for line in String::from_utf8_lossy(&self.output.contents()).lines() {
            crate::logging::guest_line(&self.guest.id, line);
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}
