//! The rules of the .proto files that a linter would keep: one request and one response type per call, `*Service`, an
//! unspecified zero value and prefixed names in every enum, snake case, and a comment on everything that is named.

use std::collections::{BTreeMap, BTreeSet};

use protox::prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};
use xtask::{codegen, root};

fn files() -> Vec<FileDescriptorProto> {
    codegen::descriptors(&root())
        .expect("the .proto files compile")
        .file
}

/// Paths of everything in a file that has a comment above it.
fn commented(file: &FileDescriptorProto) -> BTreeSet<Vec<i32>> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .filter(|place| !place.leading_comments().trim().is_empty())
        .map(|place| place.path.clone())
        .collect()
}

fn number(index: usize) -> i32 {
    i32::try_from(index).expect("a file has fewer things than that")
}

fn snake(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn upper_snake(camel: &str) -> String {
    let mut name = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn check_service(service: &ServiceDescriptorProto, used: &mut BTreeMap<String, String>) {
    assert!(
        service.name().ends_with("Service"),
        "service {}",
        service.name()
    );
    for method in &service.method {
        for (type_name, end) in [
            (method.input_type(), "Request"),
            (method.output_type(), "Response"),
        ] {
            let expected = format!(".veilsum.v1.{}{end}", method.name());
            assert_eq!(type_name, expected, "{}.{}", service.name(), method.name());
            let before = used.insert(expected, method.name().to_owned());
            assert_eq!(before, None, "{type_name} serves two calls");
        }
    }
}

fn check_enum(list: &EnumDescriptorProto) {
    let prefix = upper_snake(list.name());
    for value in &list.value {
        assert!(
            value.name().starts_with(&format!("{prefix}_")),
            "{} in {}",
            value.name(),
            list.name()
        );
    }
    let zero = list
        .value
        .iter()
        .find(|value| value.number() == 0)
        .map(|value| value.name().to_owned());
    assert_eq!(
        zero,
        Some(format!("{prefix}_UNSPECIFIED")),
        "{}",
        list.name()
    );
}

fn check_message(message: &DescriptorProto) {
    for field in &message.field {
        assert!(snake(field.name()), "{}.{}", message.name(), field.name());
    }
    let own = message.nested_type.iter().filter(|nested| {
        !nested
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
    });
    assert_eq!(
        own.count() + message.enum_type.len(),
        0,
        "{}: nothing is nested, so that names stay short",
        message.name()
    );
}

#[test]
fn services_messages_and_enums_are_named_by_the_rules() {
    let mut used = BTreeMap::new();
    for file in files() {
        assert_eq!(file.package(), "veilsum.v1", "{}", file.name());
        file.service
            .iter()
            .for_each(|service| check_service(service, &mut used));
        file.enum_type.iter().for_each(check_enum);
        file.message_type.iter().for_each(check_message);
    }
    assert!(used.len() > 30, "the calls were found");
}

#[test]
fn everything_that_is_named_says_what_it_is() {
    // numbers of the fields of FileDescriptorProto and its parts: message 4, enum 5, service 6; method 2, value 2, field 2
    for file in files() {
        let comments = commented(&file);
        let must = |path: &[i32], name: &str| {
            assert!(
                comments.contains(path),
                "{}: {name} has no comment",
                file.name()
            );
        };
        for (at, message) in file.message_type.iter().enumerate() {
            must(&[4, number(at)], message.name());
            let first_of_group = message
                .field
                .first()
                .filter(|field| field.oneof_index.is_none() || field.proto3_optional());
            if let Some(field) = first_of_group {
                must(&[4, number(at), 2, 0], field.name());
            }
        }
        for (at, list) in file.enum_type.iter().enumerate() {
            must(&[5, number(at)], list.name());
            for (inner, value) in list.value.iter().enumerate() {
                must(&[5, number(at), 2, number(inner)], value.name());
            }
        }
        for (at, service) in file.service.iter().enumerate() {
            must(&[6, number(at)], service.name());
            for (inner, method) in service.method.iter().enumerate() {
                must(&[6, number(at), 2, number(inner)], method.name());
            }
        }
    }
}
