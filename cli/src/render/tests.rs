use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = vec![row(&["a", "run", ""]), row(&["longer", "b", "é"])];
    assert_eq!(table(&rows), "a       run\nlonger  b    é");
}
