//! Form bodies: cases as data.

use proptest::prelude::*;

use super::*;

/// A closed list, a form, and what the list doesn't admit of it.
type ClosedCase = (
    &'static [&'static str],
    &'static str,
    Result<Option<&'static str>, Fault>,
);

#[test]
fn reads_forms() {
    use Fault::{FormDuplicate as Twice, FormSyntax as Syntax, MethodOverride as Override};
    let cases: &[FieldsCase] = &[
        (&["/a", "/b", "/c"], "a=1&b=", Ok(&["~1", "~", "-"])),
        (&["/a"], "a=b+c%2Bd%20e%C3%A9", Ok(&["~b c+d eé"])),
        (&["/a b", "/é"], "a+b=1&%c3%A9=2", Ok(&["~1", "~2"])),
        (&["/a"], "%61=1", Ok(&["~1"])),
        (&["/a"], "a=b=c==", Ok(&["~b=c=="])),
        (&["/a/b", "", "/a/0"], "a=1", Ok(&["-", "?", "-"])),
        (&["/a~1b"], "a/b=1", Ok(&["~1"])),
        (&["/a[x]", "/a[y]"], "a[x]=1&a%5By%5D=2", Ok(&["~1", "~2"])),
        (&["/a"], "b=1&b=2&B=3", Ok(&["-"])),
        (&["/a"], "ab=1&a_=2&a-=3", Ok(&["-"])),
        // What no two readers read alike.
        (&["/a"], "", Err(Syntax)),
        (&["/a"], "a", Err(Syntax)),
        (&["/a"], "&a=1", Err(Syntax)),
        (&["/a"], "a=1&", Err(Syntax)),
        (&["/a"], "a=1&&b=1", Err(Syntax)),
        (&["/a"], "=1", Err(Syntax)),
        (&["/a"], "a=1;b=2", Err(Syntax)),
        (&["/a"], "b;=2", Err(Syntax)),
        (&["/a"], "a=%", Err(Syntax)),
        (&["/a"], "a=%4", Err(Syntax)),
        (&["/a"], "a=%4g", Err(Syntax)),
        (&["/a"], "a=%+41", Err(Syntax)),
        (&["/a"], "b=%FF", Err(Syntax)),
        (&["/a"], "b=%C3", Err(Syntax)),
        (&["/a"], "b=%ED%A0%80", Err(Syntax)),
        (&["/a"], "a=é", Err(Syntax)),
        (&["/a"], "a=1 2", Err(Syntax)),
        (&["/a"], "a=1\n", Err(Syntax)),
        (&["/a"], "a=1\0", Err(Syntax)),
        (&["/a"], "b%00=1", Err(Syntax)),
        (&["/a"], "b%0A=1", Err(Syntax)),
        (&["/a"], "a=%00", Ok(&["~\0"])),
        // A judged name twice, or a variant of it.
        (&["/a"], "a=1&a=1", Err(Twice)),
        (&["/a"], "a=1&%61=1", Err(Twice)),
        (&["/a"], "a=1&A=1", Err(Twice)),
        (&["/a"], "A=1", Err(Twice)),
        (&["/a"], "a=1&a[]=1", Err(Twice)),
        (&["/a"], "a[]=1&a=1", Err(Twice)),
        (&["/a"], "a%5B0%5D=1", Err(Twice)),
        (&["/a"], "A[x]=1", Err(Twice)),
        (&["/a[x]"], "a=1", Err(Twice)),
        (&["/a[x]"], "a[]=1", Err(Twice)),
        (&["/a[x]"], "a[X]=1", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a[x]=1", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a[y]=1&a[y]=2", Ok(&["~1"])),
        (&["/a.b"], "a.b=1&a_b=1", Err(Twice)),
        (&["/a_b"], "a.b=1", Err(Twice)),
        (&["/a_b"], "a+b=1", Err(Twice)),
        (&["/a"], "+a=1", Err(Twice)),
        (&["/a"], "?a=1", Err(Twice)),
        (&["/a"], "a=1&%3Fa=1", Err(Twice)),
        // brackets that are no subscript's
        (&["/a_b"], "a[b=1", Err(Syntax)),
        (&["/a_b"], "a_b=1&a%5Bb=2", Err(Syntax)),
        (&["/a"], "a]=1", Err(Syntax)),
        (&["/a"], "[a]=1", Err(Syntax)),
        (&["/a"], "b[x]c=1", Err(Syntax)),
        (&["/a"], "b[[x]]=1", Err(Syntax)),
        (&["/a[0]"], "a[0]=1&a[+]=2", Err(Syntax)),
        (&["/a[x]"], "a[x]=1&a[+x]=2", Err(Syntax)),
        (&["/a"], "a=1&b[x][y z]=2", Err(Syntax)),
        (&["/a"], "a=1&b[x][y]=2&b[]=3&c[d+e]=4", Ok(&["~1"])),
        (&["/key"], "%E2%84%AAey=1", Err(Twice)),
        (&["/a/b"], "a=1&a[b]=1", Err(Twice)),
        (&["/a", "/A"], "a=1", Err(Twice)),
        (&["/id"], "%C4%B1d=1", Err(Twice)),
        // A judged element, and a part of it.
        (&["/a"], "a.b=1", Err(Twice)),
        (&["/a"], "b=1&a.=1", Err(Twice)),
        (&["/a"], "a..b=1", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a.x=2", Err(Twice)),
        (&["/a[x]"], "a[x]=1&A.X=2", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a.x.y=2", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a_x=2", Err(Twice)),
        (&["/a.x"], "a.x=1&a[x]=2", Err(Twice)),
        (&["/a_x"], "a_x=1&a[x]=2", Err(Twice)),
        // PHP's name is what stands before the bracket, its points as underscores.
        (&["/a_b"], "a_b=1&a.b[]=0", Err(Twice)),
        (&["/a_b"], "x=1&a.b[c]=0", Err(Twice)),
        (&["/a.b[]"], "a_b=1", Err(Twice)),
        (&["/a_b[x]"], "a_b[x]=1&a.b[]=2", Err(Twice)),
        (&["/a_b[x]"], "a_b[x]=1&a.b[y]=2", Ok(&["~1"])),
        (&["/a[x]"], "a[x]=1&a.y=2&a[xy]=3", Ok(&["~1"])),
        (&["/a"], "a=1&.a=2&b.a=3", Ok(&["~1"])),
        (&["/a[x]"], "a[x]=1&a[x][y]=1", Err(Twice)),
        (&["/a[x]"], "a[][x]=1", Err(Twice)),
        (&["/a[x]"], "a[x]=1&a[xy][x]=1", Ok(&["~1"])),
        // Brackets that everybody repairs in a way of their own.
        (&["/a_b"], "a[b=1", Err(Syntax)),
        (&["/a"], "[a]=1", Err(Syntax)),
        (&["/a"], "a]=1", Err(Syntax)),
        (&["/a"], "b=1&a%5D=1", Err(Syntax)),
        (&["/a[x]"], "a[x]y=1", Err(Syntax)),
        (&["/a[x]"], "a[[x]]=1", Err(Syntax)),
        (&["/a"], "b[=1", Err(Syntax)),
        (&["/a"], "b[x]]=1", Err(Syntax)),
        (&["/a"], "b][x]=1", Err(Syntax)),
        (&["/a"], "b[x][][y]=1", Ok(&["-"])),
        // A field that overrides the method.
        (&["/a"], "a=1&_method=DELETE", Err(Override)),
        (&["/_method"], "_method=DELETE", Err(Override)),
        (&["/a"], "%5FMethod=DELETE", Err(Override)),
        (&["/a"], ".method[]=DELETE", Err(Override)),
        (&["/a"], "x-http-method-override=DELETE", Err(Override)),
        (&["/a"], "%3F_method=DELETE", Err(Override)),
        (&["/a"], "a=1&?_method=DELETE", Err(Override)),
        (&["/a"], "method=1&x_method=1&payment_method=1", Ok(&["-"])),
    ];
    for (fields, body, expected) in cases {
        check_fields(
            BodyFields::form(body.as_bytes(), &judged(fields)),
            *expected,
            body,
        );
    }
}

#[test]
fn closes_forms() {
    use Fault::FormDuplicate as Twice;
    let cases: &[ClosedCase] = &[
        (&["/a", "/b"], "a=1&b=2", Ok(None)),
        (&["/a"], "a=1&b=2&c=3", Ok(Some("/b"))),
        (&["/a"], "a=1&b/~=2", Ok(Some("/b~1~0"))),
        (&["/a/b"], "a=1", Ok(Some("/a"))),
        (&[""], "a=1&b=2", Ok(None)),
        (&[], "a=1", Ok(Some("/a"))),
        (&["/a[x]", "/a[y]"], "a[x]=1&a[y]=2", Ok(None)),
        // Every name is judged where a list closes the form.
        (&["/a"], "b=1&b=2", Err(Twice)),
        (&["/a"], "b=1&B=2", Err(Twice)),
        (&["/a"], "b=1&c=0&b[]=2", Err(Twice)),
        (&["/a"], "b[x]=1&c=0&b=2", Err(Twice)),
        (&["/a"], "b[x]=1&b[y]=0&b[x]=2", Err(Twice)),
        (&["/a"], "b.c=1&b_c=2", Err(Twice)),
        (&["/a"], "b.c=1&d=0&b=2", Err(Twice)),
        (&["/a"], "b[c]=1&d=0&b.c=2", Err(Twice)),
        (&["/a"], "b[c]=1&b[d]=0&b_c=2", Err(Twice)),
        (&[""], "b=1&b=2", Err(Twice)),
        (&["/a"], "b[x]=1&b[y]=2", Ok(Some("/b[x]"))),
    ];
    for (only, body, expected) in cases {
        let projection = closed(only);
        let read = BodyFields::form(body.as_bytes(), &projection);
        let unexpected = read.map(|read| read.unexpected(9).map(String::from));
        assert_eq!(
            unexpected,
            expected.map(|e| e.map(String::from)),
            "{only:?} {body}"
        );
    }
}

proptest! {
    #[test]
    fn reads_any_form_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[ab=&%+\\[\\].;0-9A-F]{0,40}") {
        let projection = Projection::merge(&[&judged(&["/a", "/b[0]", "/a.b"]), &closed(&["/a"])]);
        let _ = BodyFields::form(&bytes, &projection);
        let _ = BodyFields::form(text.as_bytes(), &projection);
    }
}

#[test]
fn no_more_names_than_every_upstream_reads() {
    let projection = Projection::new(&[(Pointer::parse("/a").unwrap(), 1)], &[]);
    let most = "b=&".repeat(999) + "a=1";
    let read = BodyFields::form(most.as_bytes(), &projection).unwrap();
    assert!(matches!(read.field(1), Value::Wire("1")));
    let more = format!("b=&{most}");
    let fault = BodyFields::form(more.as_bytes(), &projection).map(|_| ());
    assert_eq!(fault, Err(Fault::FormTooComplex));
}
