use super::*;

const SOURCE: &str = "\
pub(crate) fn two() -> u8 {
    2
}
fn one_line() -> u8 { 1 }

trait Shape {
    fn declared(&self) -> u8;
    fn declared_over_lines(
        &self,
    ) -> u8;

    const fn given(&self) -> u8 {
        let braces = Braces { inner: 3 };
        // fn in a comment
        braces.inner
    }
}

async fn long(
    first: u8,
) -> Result<(), Error>
where
    u8: Copy,
{
    if first > 0 {
        inner();
    }
    Ok(())
}
";

#[test]
fn functions_are_found_with_their_lengths_and_declarations_are_not() {
    let found: Vec<(String, usize, usize)> = functions(SOURCE)
        .into_iter()
        .map(|function| (function.name, function.line, function.lines))
        .collect();
    let expected = [
        ("two", 1, 3),
        ("one_line", 4, 1),
        ("given", 12, 5),
        ("long", 19, 11),
    ];
    assert_eq!(
        found,
        expected.map(|(name, line, lines)| (name.to_owned(), line, lines))
    );
}

#[test]
fn quantiles_of_nothing_are_nothing() {
    assert_eq!(quantile(&[], 90), 0);
    assert_eq!(quantile(&[1, 2, 3, 4, 5], 50), 3);
    assert_eq!(quantile(&[1, 2, 3, 4, 5], 100), 5);
}
