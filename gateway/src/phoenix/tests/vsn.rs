//! Which `vsn` gets which serializer.

use crate::phoenix::Serializer::{self, V1, V2};

#[test]
fn a_vsn_chooses_its_serializer() {
    let chosen = [
        (None, V1),
        (Some("1.0.0"), V1),
        (Some("1.0.5"), V1),
        (Some("1.0.1-dev"), V1),
        (Some("2.0.0"), V2),
        (Some("2.0.9"), V2),
        (Some("2.0.10"), V2),
        (Some("2.0.1-dev"), V2),
        (Some("2.0.1-0.x-y.10"), V2),
        (Some("2.0.1--"), V2),
        (Some("2.0.0+b"), V2),
        (Some("2.0.0+01.a-b"), V2),
        (Some("2.0.0+a-b"), V2),
        (Some("2.0.3-rc.1+b.7"), V2),
        (Some("2.0.99999999999999999999999999"), V2),
    ];
    for (vsn, serializer) in chosen {
        assert_eq!(Serializer::negotiate(vsn), Some(serializer), "{vsn:?}");
    }
}

#[test]
fn any_other_vsn_is_refused() {
    let refused = [
        "2.0.0-rc.1",
        "1.0.0-0",
        "1.1.0",
        "1.1.0-rc.1",
        "2.1.0",
        "2.1.0-dev",
        "0.9.9",
        "3.0.0",
        "123.1.1",
        "2",
        "2.0",
        "02.0.0",
        "2.00.0",
        "2.0.00",
        "2.0.0.0",
        "2.0.0.",
        ".0.0",
        "2..0",
        "abc",
        "",
        " ",
        " 2.0.0",
        "2.0.0 ",
        "2.0.0\n",
        "+2.0.0",
        "2.0.-1",
        "2.0.1-",
        "2.0.1-a..b",
        "2.0.1-01",
        "2.0.1-a_b",
        "2.0.1-é",
        "2.0.0+",
        "2.0.0+a..b",
        "2.0.0+a+b",
        "2.0.1-rc.1+",
        "٢.0.0",
        "v2.0.0",
        "2.0.x",
        "2,0,0",
        "-",
        "+",
    ];
    for vsn in refused {
        assert_eq!(Serializer::negotiate(Some(vsn)), None, "{vsn:?}");
    }
}
