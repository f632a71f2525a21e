//! The engine: compiled components, and one fresh, bounded instance per request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime::{StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::key_value::{KeyValue, Values};
use super::outbound_http::{AllowedHosts, OutboundHttp};
use super::variables::VariableError;

/// Requests that are served at once; one more gets 503.
pub const CONCURRENCY: u32 = 128;
/// The most memory of one instance.
const MEMORY_LIMIT: usize = 128 * 1024 * 1024;
/// How often a computing guest lets others run.
const EPOCH: Duration = Duration::from_millis(50);
/// What a guest may print for one request.
const OUTPUT_LIMIT: usize = 64 * 1024;

mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package host:offers;

            world offers {
                import fermyon:spin/variables@2.0.0;
                import fermyon:spin/key-value@2.0.0;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }

            package fermyon:spin@2.0.0 {
                interface variables {
                    variant error { invalid-name(string), undefined(string), provider(string), other(string) }
                    get: func(name: string) -> result<string, error>;
                }
                interface key-value {
                    variant error { store-table-full, no-such-store, access-denied, other(string) }
                    resource store {
                        open: static func(label: string) -> result<store, error>;
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        get-keys: func() -> result<list<string>, error>;
                    }
                }
            }

            package wasi:keyvalue@0.2.0-draft2 {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<string> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<string>) -> result<key-response, error>;
                    }
                }
                interface batch {
                    use store.{bucket, error};
                    get-many: func(bucket: borrow<bucket>, keys: list<string>)
                        -> result<list<tuple<string, option<list<u8>>>>, error>;
                    set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>)
                        -> result<_, error>;
                    delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
                }
                interface atomics {
                    use store.{bucket, error};
                    increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                }
            }
        ",
        imports: { default: async | trappable },
        with: {
            "fermyon:spin/key-value.store": super::Bucket,
            "wasi:keyvalue/store.bucket": super::Bucket,
        },
    });
}

use bindings::fermyon::spin::{key_value as spin_store, variables as spin_variables};
use bindings::wasi::keyvalue::{atomics, batch, store as wasi_store};

/// A store that a guest opened.
pub struct Bucket(String);

/// A component that is ready to serve.
pub struct Guest {
    /// Its id in the manifest.
    pub id: String,
    /// Compiled and linked.
    pub pre: ProxyPre<State>,
    /// Its variables, or why one has no value.
    pub variables: Arc<BTreeMap<String, Result<String, VariableError>>>,
    /// Where it may go.
    pub allowed_hosts: Arc<AllowedHosts>,
    /// The stores that it may open.
    pub stores: Arc<Vec<String>>,
    /// Where their values are.
    pub key_value: KeyValue,
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

/// Compiles and instantiates.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Arc<Linker<State>>,
}

impl Engine {
    /// An engine with a pool for [`CONCURRENCY`] instances and wasmtime's cache of compiled code on disk.
    pub fn new() -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(CONCURRENCY)
            // A component made of a core module has that, the adapter, and small shims between them.
            .total_core_instances(CONCURRENCY * 4)
            .total_memories(CONCURRENCY)
            .total_tables(CONCURRENCY * 4)
            .total_stacks(CONCURRENCY)
            .max_memory_size(MEMORY_LIMIT);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .epoch_interruption(true)
            .wasm_component_model(true);
        match Cache::new(CacheConfig::new()) {
            Ok(cache) => {
                config.cache(Some(cache));
            }
            Err(error) => tracing::warn!("compiled code is not kept for the next start: {error:#}"),
        }
        let engine = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        bindings::Offers::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;

        let ticker = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticker.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        });
        Ok(Self { engine, linker: Arc::new(linker) })
    }

    /// Compiles a component, which takes seconds the first time, and links it; an import that this host does not offer
    /// is an error that names it.
    pub fn load(&self, component: &[u8]) -> wasmtime::Result<ProxyPre<State>> {
        ProxyPre::new(self.linker.instantiate_pre(&Component::new(&self.engine, component)?)?)
    }
}

impl Guest {
    /// A store with the world of one request.
    pub fn instance_state(self: &Arc<Self>) -> Store<State> {
        let output = MemoryOutputPipe::new(OUTPUT_LIMIT);
        let state = State {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().stdout(output.clone()).stderr(output.clone()).build(),
            http: WasiHttpCtx::new(),
            outbound: OutboundHttp { component: self.id.clone(), allowed: Arc::clone(&self.allowed_hosts) },
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_LIMIT).build(),
            guest: Arc::clone(self),
            output,
        };
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.limits);
        // A computing guest gives way; the request's deadline ends it.
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

impl spin_variables::Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, spin_variables::Error>> {
        Ok(match self.guest.variables.get(&name) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(VariableError::Undefined(why))) => Err(spin_variables::Error::Undefined(why.clone())),
            Some(Err(VariableError::Template(why))) => Err(spin_variables::Error::Other(why.clone())),
            None => Err(spin_variables::Error::Undefined(format!("the component has no variable {name}"))),
        })
    }
}

impl State {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<(KeyValue, String)> {
        Ok((self.guest.key_value.clone(), self.table.get(bucket)?.0.clone()))
    }
}

/// Spin has two interfaces for one store: the same functions over two error types.
macro_rules! bucket_functions {
    ($interface:ident, $host:ident) => {
        impl $interface::$host for State {
            async fn get(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<Option<Vec<u8>>, $interface::Error>> {
                let (values, store) = self.bucket(&bucket)?;
                Ok(values.get(&store, key).await.map_err(|error| $interface::Error::Other(error.to_string())))
            }

            async fn set(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
                value: Vec<u8>,
            ) -> wasmtime::Result<Result<(), $interface::Error>> {
                let (values, store) = self.bucket(&bucket)?;
                Ok(values.set(&store, key, value).await.map_err(|error| $interface::Error::Other(error.to_string())))
            }

            async fn delete(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<(), $interface::Error>> {
                let (values, store) = self.bucket(&bucket)?;
                Ok(values.delete(&store, key).await.map_err(|error| $interface::Error::Other(error.to_string())))
            }

            async fn exists(
                &mut self,
                bucket: Resource<Bucket>,
                key: String,
            ) -> wasmtime::Result<Result<bool, $interface::Error>> {
                let (values, store) = self.bucket(&bucket)?;
                let value = values.get(&store, key).await;
                Ok(value.map(|value| value.is_some()).map_err(|error| $interface::Error::Other(error.to_string())))
            }

            async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
                self.table.delete(bucket)?;
                Ok(())
            }

            bucket_functions!(@more $interface);
        }
    };
    (@open $interface:ident, $state:ident, $name:ident) => {{
        // A name that the manifest does not give is refused, whether there is such a store or not.
        if $state.guest.stores.contains(&$name) {
            Ok(Ok($state.table.push(Bucket($name))?))
        } else {
            Ok(Err($interface::Error::AccessDenied))
        }
    }};
    (@more spin_store) => {
        async fn open(&mut self, label: String) -> wasmtime::Result<Result<Resource<Bucket>, spin_store::Error>> {
            bucket_functions!(@open spin_store, self, label)
        }

        async fn get_keys(
            &mut self,
            bucket: Resource<Bucket>,
        ) -> wasmtime::Result<Result<Vec<String>, spin_store::Error>> {
            let (values, store) = self.bucket(&bucket)?;
            Ok(values.keys(&store).await.map_err(|error| spin_store::Error::Other(error.to_string())))
        }
    };
    (@more wasi_store) => {
        async fn list_keys(
            &mut self,
            bucket: Resource<Bucket>,
            _cursor: Option<String>,
        ) -> wasmtime::Result<Result<wasi_store::KeyResponse, wasi_store::Error>> {
            let (values, store) = self.bucket(&bucket)?;
            let keys = values.keys(&store).await;
            Ok(keys
                .map(|keys| wasi_store::KeyResponse { keys, cursor: None })
                .map_err(|error| wasi_store::Error::Other(error.to_string())))
        }
    };
}

bucket_functions!(spin_store, HostStore);
bucket_functions!(wasi_store, HostBucket);

impl spin_store::Host for State {}

impl wasi_store::Host for State {
    async fn open(&mut self, identifier: String) -> wasmtime::Result<Result<Resource<Bucket>, wasi_store::Error>> {
        bucket_functions!(@open wasi_store, self, identifier)
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, wasi_store::Error>> {
        let (values, store) = self.bucket(&bucket)?;
        Ok(values.increment(&store, key, delta).await.map_err(|error| wasi_store::Error::Other(error.to_string())))
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Values, wasi_store::Error>> {
        let (values, store) = self.bucket(&bucket)?;
        Ok(values.get_many(&store, keys).await.map_err(|error| wasi_store::Error::Other(error.to_string())))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), wasi_store::Error>> {
        let (values, store) = self.bucket(&bucket)?;
        Ok(values.set_many(&store, key_values).await.map_err(|error| wasi_store::Error::Other(error.to_string())))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), wasi_store::Error>> {
        let (values, store) = self.bucket(&bucket)?;
        Ok(values.delete_many(&store, keys).await.map_err(|error| wasi_store::Error::Other(error.to_string())))
    }
}
