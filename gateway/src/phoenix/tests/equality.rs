//! When two references are the same.

use serde_json::value::RawValue;

use crate::phoenix::Ref;

fn reference(json: &str) -> Ref {
    Ref::from(serde_json::from_str::<&RawValue>(json).unwrap())
}

#[test]
fn the_same_value_is_the_same_ref_in_any_spelling() {
    let same = [
        ("null", "null"),
        ("1", "1"),
        ("0", "-0"),
        ("1.0", "1.00"),
        ("1.5", "15e-1"),
        ("1e2", "1E+2"),
        ("12345678901234567890123", "12345678901234567890123"),
        (r#""a""#, r#""\u0061""#),
        (r#""/""#, r#""\/""#),
        (r#""😀""#, r#""\ud83d\uDE00""#),
        (r#""\n""#, r#""\u000a""#),
        ("[]", "[ ]"),
        (r#"{"a":[1,"b c",null]}"#, "{ \"\\u0061\" : [ 1 ,\n\"b c\", null ] }"),
    ];
    for (one, other) in same {
        assert_eq!(reference(one), reference(other));
        assert_eq!(reference(other), reference(one));
    }
}

#[test]
fn another_value_or_type_is_another_ref() {
    let all = [
        "null",
        "false",
        "true",
        "0",
        "1",
        "1.0",
        "-1",
        "1e400",
        "1e401",
        r#""1""#,
        r#""""#,
        r#"" ""#,
        r#""null""#,
        r#""a""#,
        r#""A""#,
        r#""\\u0061""#,
        r#""a\"""#,
        "[]",
        "[[]]",
        "[1]",
        "[1,1]",
        "[11]",
        r#"["1"]"#,
        "{}",
        r#"{"a":1}"#,
        r#"{"a":1.0}"#,
        r#"{"b":1}"#,
        r#"["a",1]"#,
        "12345678901234567890123",
        "12345678901234567890124",
        "1.2345678901234568e22",
    ];
    for (index, one) in all.iter().enumerate() {
        for (other_index, other) in all.iter().enumerate() {
            assert_eq!(reference(one) == reference(other), index == other_index, "{one} and {other}");
        }
    }
}

#[test]
fn a_ref_gives_its_value_back_as_it_came() {
    let longest_inline = r#""12345678901234567890""#;
    let shortest_shared = r#""123456789012345678901""#;
    for json in ["null", "0", "1.0", r#""\u0061""#, longest_inline, shortest_shared, "[1,{}]"] {
        assert_eq!(reference(json).as_json(), json);
        assert_eq!(reference(json).clone(), reference(json));
    }
}

#[test]
fn a_null_ref_gives_way_to_another() {
    assert_eq!(Ref::NULL.or(&reference("1")), reference("1"));
    assert_eq!(reference("2").or(&reference("1")), reference("2"));
    assert_eq!(reference(r#""""#).or(&reference("1")), reference(r#""""#));
    assert!(Ref::NULL.or(&Ref::NULL).is_null());
    assert!(!reference(r#""null""#).is_null());
}
