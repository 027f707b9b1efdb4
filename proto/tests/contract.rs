//! Existing clients keep working: every field, enum value and call of the original contract (`contract.txt`) stands
//! in the descriptors under its name, number, type and oneof. Our own fields stand at 100 and above.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto,
};

const CONTRACT: &str = include_str!("contract.txt");
const PACKAGE: &str = ".engram.v1.";

/// Messages that are ours as a whole; their numbers are free.
const OURS: [&str; 2] = ["ObservationBatch", "RecallFilter"];

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(engram_proto::DESCRIPTOR_SET)
        .expect("the committed descriptors decode");
    set.file
}

/// The lines of `contract.txt` that say what the descriptors of `engram.v1` hold.
fn described() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in files().iter().filter(|file| file.package() == "engram.v1") {
        for message in &file.message_type {
            lines.extend(message_lines(message));
        }
        for values in &file.enum_type {
            lines.extend(enum_lines(values.name(), values));
        }
        for service in &file.service {
            assert_eq!(service.name(), "EngramService");
            lines.extend(service.method.iter().map(method_line));
        }
    }
    lines
}

fn message_lines(message: &DescriptorProto) -> Vec<String> {
    let mut lines: Vec<String> =
        message.field.iter().map(|field| field_line(message, field)).collect();
    for values in &message.enum_type {
        lines.extend(enum_lines(&format!("{}.{}", message.name(), values.name()), values));
    }
    lines
}

fn enum_lines(name: &str, values: &EnumDescriptorProto) -> Vec<String> {
    values
        .value
        .iter()
        .map(|value| format!("enum {name} {} {}", value.name(), value.number()))
        .collect()
}

fn field_line(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let oneof = match field.oneof_index {
        Some(index) => format!(" oneof={}", message.oneof_decl[index as usize].name()),
        None => String::new(),
    };
    let kind = type_text(message, field);
    format!("field {} {} {} {kind}{oneof}", message.name(), field.name(), field.number())
}

fn type_text(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    if let Some(entry) = map_entry(message, field) {
        let of = |at: usize| type_text(entry, &entry.field[at]);
        return format!("map<{}, {}>", of(0), of(1));
    }
    let text = match field.r#type() {
        Type::Message => {
            field.type_name().strip_prefix(PACKAGE).unwrap_or(&field.type_name()[1..]).to_owned()
        }
        Type::Enum => {
            let full = field
                .type_name()
                .strip_prefix(PACKAGE)
                .expect("every enum used is of this package");
            // A nested enum is named as from inside its message.
            full.strip_prefix(&format!("{}.", message.name())).unwrap_or(full).to_owned()
        }
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("repeated {text}") } else { text }
}

fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    let path = format!("{PACKAGE}{}.", message.name());
    let name = field.type_name().strip_prefix(&path)?;
    let entry = message.nested_type.iter().find(|nested| nested.name() == name)?;
    entry.options.as_ref().is_some_and(|options| options.map_entry()).then_some(entry)
}

fn method_line(method: &MethodDescriptorProto) -> String {
    let kind = match (method.client_streaming(), method.server_streaming()) {
        (false, false) => "unary",
        (false, true) => "server streaming",
        (true, true) => "bidirectional",
        (true, false) => "client streaming",
    };
    let of = |name: &str| {
        name.strip_prefix(PACKAGE).expect("calls take messages of this package").to_owned()
    };
    format!("rpc {} {} {} {kind}", method.name(), of(method.input_type()), of(method.output_type()))
}

#[test]
fn the_original_contract_stands_unchanged() {
    let described = described();
    let contract: Vec<&str> = CONTRACT.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(contract.len(), 305, "contract.txt lost or gained lines");
    let missing: Vec<_> = contract.iter().filter(|line| !described.contains(**line)).collect();
    assert!(missing.is_empty(), "changed or gone: {missing:#?}");
}

#[test]
fn what_the_contract_does_not_name_is_marked_as_ours_by_its_number() {
    let contract: BTreeSet<&str> = CONTRACT.lines().collect();
    let mut ours = 0;
    for line in described().iter().filter(|line| !contract.contains(line.as_str())) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_ne!(words[0], "rpc", "a call that the contract does not have: {line}");
        if words[0] == "field" && !OURS.contains(&words[1]) {
            let number: i32 =
                words[3].parse().expect("the fourth word of a field's line is its number");
            assert!(number >= 100, "an extension in the original's numbers: {line}");
            ours += 1;
        }
    }
    assert!(ours > 0, "the extensions are gone");
}

/// What reflection hands out must be complete: a client resolves every import from it.
#[test]
fn descriptors_hold_every_import_before_its_user() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for file in files() {
        for import in &file.dependency {
            assert!(
                seen.contains(import),
                "{} imports {import}, which does not stand before it",
                file.name()
            );
        }
        seen.insert(file.name().to_owned());
    }
    for served in [
        "engram/v1/service.proto",
        "grpc/health/v1/health.proto",
        "grpc/reflection/v1/reflection.proto",
    ] {
        assert!(seen.contains(served), "{served} is missing");
    }
}
