//! Rows of numbers with a class each, from CSV: the two bundled data sets or a file of the user's own.
//!
//! The first line names the columns. The class is the column called `label`, else the last one; every other column is a feature. Values are read as they
//! stand: scaling is [`crate::scale`]'s business. Quoted fields are not understood, and no error message repeats a value, since it may be a patient's.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};

/// Rows to learn from or to test with; row `i` of `features` has class `labels[i]` and was data row `rows[i]` of its CSV.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// One row an example, one column a feature.
    pub features: Array2<f32>,
    /// The class of each row, below `classes`.
    pub labels: Vec<usize>,
    /// Where each row stood in the CSV: 0 is the first line after the header, blank lines are not counted.
    pub rows: Vec<usize>,
    /// How many classes there are. A part of a data set keeps the number of the whole.
    pub classes: usize,
}

impl Dataset {
    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Says whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the rows at these positions (not CSV row numbers), in this order.
    ///
    /// # Panics
    /// If a position is not below [`Dataset::len`].
    pub fn select(&self, positions: &[usize]) -> Self {
        Self {
            features: self.features.select(Axis(0), positions),
            labels: positions.iter().map(|&at| self.labels[at]).collect(),
            rows: positions.iter().map(|&at| self.rows[at]).collect(),
            classes: self.classes,
        }
    }
}

/// Returns the bundled digits: 1797 rows, 64 pixel counts from 0 to 16, 10 classes.
pub fn digits() -> Dataset {
    parse(DIGITS_CSV).expect("a test parses the bundled digits.csv")
}

/// Returns the bundled breast cancer data: 569 rows, 30 measurements, class 0 malignant and 1 benign.
pub fn breast_cancer() -> Dataset {
    parse(BREAST_CANCER_CSV).expect("a test parses the bundled breast_cancer.csv")
}

/// Reads a CSV file.
///
/// # Errors
/// [`LoadError`] if the file cannot be read, is larger than [`CSV_BYTES_MAX`] or is not the CSV this module understands.
pub fn load(path: &Path) -> Result<Dataset, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(CSV_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > CSV_BYTES_MAX {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            limit_bytes: CSV_BYTES_MAX,
        });
    }
    parse(&text).map_err(|source| LoadError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// Reads CSV text. The number of classes is the largest label plus one.
///
/// # Errors
/// [`CsvError`] with the line, and the column where one is at fault.
pub fn parse(text: &str) -> Result<Dataset, CsvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or(CsvError::Empty)?;
    let columns = Columns::from_header(header)?;
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (line, row) in lines {
        labels.push(columns.read_row(line, row, &mut values)?);
    }
    let classes = labels.iter().max().ok_or(CsvError::NoRows)? + 1;
    let features = Array2::from_shape_vec((labels.len(), columns.names.len() - 1), values)
        .expect("read_row adds one value for each column but the label");
    Ok(Dataset {
        features,
        rows: (0..labels.len()).collect(),
        labels,
        classes,
    })
}

/// The header line, understood.
struct Columns<'a> {
    names: Vec<&'a str>,
    label: usize,
}

impl<'a> Columns<'a> {
    fn from_header(header: &'a str) -> Result<Self, CsvError> {
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        if names.len() < 2 {
            return Err(CsvError::OneColumn);
        }
        let label = names.iter().position(|&name| name == "label");
        Ok(Self {
            label: label.unwrap_or(names.len() - 1),
            names,
        })
    }

    /// Adds the row's features to `values` and returns its class.
    fn read_row(&self, line: usize, row: &str, values: &mut Vec<f32>) -> Result<usize, CsvError> {
        let (have, need) = (row.split(',').count(), self.names.len());
        if have != need {
            return Err(CsvError::FieldCount { line, have, need });
        }
        let mut label = 0;
        for (index, field) in row.split(',').map(str::trim).enumerate() {
            if index == self.label {
                label = self.read_label(line, field)?;
            } else {
                values.push(self.read_value(line, index, field)?);
            }
        }
        Ok(label)
    }

    fn read_label(&self, line: usize, field: &str) -> Result<usize, CsvError> {
        match field.parse() {
            Ok(label) if label < CLASSES_MAX => Ok(label),
            Ok(_) | Err(_) => Err(CsvError::Label {
                line,
                column: self.label + 1,
                name: self.names[self.label].to_owned(),
                limit: CLASSES_MAX - 1,
            }),
        }
    }

    fn read_value(&self, line: usize, index: usize, field: &str) -> Result<f32, CsvError> {
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) | Err(_) => Err(CsvError::Value {
                line,
                column: index + 1,
                name: self.names[index].to_owned(),
            }),
        }
    }
}

/// Why a file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file system refused, or the bytes are not UTF-8.
    #[error("cannot read {}: {source}; give the path of a CSV file that this user may read", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is too large for this example trainer.
    #[error("{} is larger than {limit_bytes} bytes, the limit of the example trainer; use a part of it, or a trainer of your own", path.display())]
    TooLarge {
        /// The path as it was given.
        path: PathBuf,
        /// [`CSV_BYTES_MAX`].
        limit_bytes: u64,
    },
    /// The file was read but is not a table of numbers.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong, and where.
        source: CsvError,
    },
}

/// What is wrong with CSV text. Lines and columns count from 1; the header is a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// There is no line at all.
    #[error("the file is empty; its first line must name the columns")]
    Empty,
    /// There is a header and nothing else.
    #[error("there is a header but no row; add at least one line of data")]
    NoRows,
    /// A header with fewer than two names.
    #[error(
        "the header names one column; there must be at least one feature and the label, separated by commas"
    )]
    OneColumn,
    /// A row that is longer or shorter than the header.
    #[error("line {line} has {have} fields, the header has {need}; make them equal")]
    FieldCount {
        /// The line at fault.
        line: usize,
        /// Fields in the line.
        have: usize,
        /// Names in the header.
        need: usize,
    },
    /// A feature that is no number.
    #[error(
        "line {line}, column {column} (`{name}`) is not a finite number; correct or leave out the row"
    )]
    Value {
        /// The line at fault.
        line: usize,
        /// The column at fault.
        column: usize,
        /// Its name in the header.
        name: String,
    },
    /// A class that is no class number.
    #[error(
        "line {line}, column {column} (`{name}`) is not a class; labels are whole numbers from 0 to {limit}"
    )]
    Label {
        /// The line at fault.
        line: usize,
        /// The column of the labels.
        column: usize,
        /// Its name in the header.
        name: String,
        /// The largest label.
        limit: usize,
    },
}

/// Largest file that [`load`] reads: it is held in memory twice, as text and as numbers.
pub const CSV_BYTES_MAX: u64 = 256 << 20;

/// Most classes: each becomes an output of the model, so one mistyped label must not make a model of millions.
pub const CLASSES_MAX: usize = 1024;

const DIGITS_CSV: &str = include_str!("../../data/digits.csv");
const BREAST_CANCER_CSV: &str = include_str!("../../data/breast_cancer.csv");

#[cfg(test)]
mod tests;
