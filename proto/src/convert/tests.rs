mod wire;

use super::*;

#[test]
fn an_error_names_the_field_and_the_lengths() {
    let error = digest("model_hash", &[0; 31]).unwrap_err();
    assert_eq!(
        error,
        ConvertError {
            field: "model_hash",
            problem: Problem::Length { have: 31, need: 32 }
        }
    );
    assert_eq!(
        error.to_string(),
        "field model_hash has 31 bytes, must have 32"
    );
    assert_eq!(
        run_id(&[0; 17]).unwrap_err().to_string(),
        "field run_id has 17 bytes, must have 16"
    );
    assert_eq!(
        required::<u8>("binding", None).unwrap_err().to_string(),
        "field binding is missing"
    );
}

#[test]
fn a_list_of_pieces_is_cut_exactly_and_bounded() {
    assert_eq!(
        pieces::<2>("list", &[1, 2, 3, 4], 2).unwrap(),
        [[1, 2], [3, 4]]
    );
    let cases = [
        (vec![0; 3], Problem::Pieces { have: 3, unit: 2 }),
        (
            vec![0; 6],
            Problem::TooLong {
                have: 3,
                limit: 2,
                unit: "entries",
            },
        ),
    ];
    for (bytes, problem) in cases {
        assert_eq!(
            pieces::<2>("list", &bytes, 2).unwrap_err(),
            ConvertError {
                field: "list",
                problem
            }
        );
    }
}

#[test]
fn a_key_that_is_no_point_or_of_small_order_is_refused() {
    let small_order = [0; 32];
    assert!(matches!(
        exchange_key("e_pk", &small_order).unwrap_err().problem,
        Problem::Key(_)
    ));
    let identity_element = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    assert!(matches!(
        verify_key("id_pk", &identity_element).unwrap_err().problem,
        Problem::Key(_)
    ));
}
