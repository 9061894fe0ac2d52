use crate::pb::{SiteEvent, UnmaskList, UnmaskRequest, UpdatePinned, site_event};

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

#[test]
fn a_pinned_update_does_not_show_its_numbers_when_it_is_printed() {
    let pinned = UpdatePinned {
        round: 7,
        weight: 170_141,
        meta_lanes: vec![170_142; 3],
        ..UpdatePinned::default()
    };
    let event = Some(site_event::Event::Trained(pinned));
    let printed = format!("{:?}", SiteEvent { event });
    assert!(!printed.contains("17014"), "{printed}");
    assert!(
        printed.contains("round: 7") && printed.contains("meta_lanes_len: 3"),
        "{printed}"
    );
}
