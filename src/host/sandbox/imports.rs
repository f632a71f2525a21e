//! What a guest may import besides WASI: variables and key-value stores, in the interfaces that Spin has for them.

use wasmtime::component::Resource;

use super::State;
use crate::host::key_value::{KeyValue, Values};
use crate::host::variables::VariableError;

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package host:imports;

            world imports {
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
                Ok(values.get(&store, &key).await.map_err(|error| $interface::Error::Other(error.to_string())))
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
                let value = values.get(&store, &key).await;
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
