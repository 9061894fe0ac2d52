use crate::pb::{UnmaskList, UnmaskRequest};

#[test]
fn a_released_list_does_not_show_its_scalars_when_it_is_printed() {
    let list = UnmaskList {
        scalars: vec![171; 64],
        position: 3,
        ..UnmaskList::default()
    };
    let printed = format!(
        "{:?}",
        UnmaskRequest {
            list: Some(list),
            ..UnmaskRequest::default()
        }
    );
    assert!(!printed.contains("171"), "{printed}");
    assert!(printed.contains("scalars_bytes: 64"), "{printed}");
    assert!(printed.contains("position: 3"), "{printed}");
}
