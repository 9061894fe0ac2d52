//! The committed code is what the .proto files give.

use xtask::{codegen, root};

#[test]
fn generated_code_is_in_step_with_the_proto_files() {
    if let Err(error) = codegen::check(&root()) {
        panic!("{error}");
    }
}
