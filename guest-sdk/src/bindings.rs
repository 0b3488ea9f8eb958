//! The raw bindings of `wit/`, as `wit-bindgen` writes them.
//!
//! For what the comfortable face does not offer. Nothing here is checked, and no stock module may
//! use it: a call that they need belongs into the face.
#![expect(missing_docs, reason = "generated: the words are in `wit/`")]

wit_bindgen::generate!({
    path: "../wit",
    world: "module",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    default_bindings_module: "cofferdam_guest_sdk::bindings",
    runtime_path: "::cofferdam_guest_sdk::wit_bindgen_rt",
    generate_all,
});
