//! Studies as tests write them: short timeouts, one metric, and whatever is special about one.

/// A study whose fields are what tests differ in.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    pub rounds: u64,
    pub min: u32,
    pub target: u32,
    /// How long an epoch waits for sites and a round for Commits: short only where a test has to wait for it.
    pub join: &'static str,
    /// How long a round waits for uploads.
    pub report: &'static str,
    /// The table `secagg.weight`.
    pub weight: &'static str,
}

impl Study {
    /// All sites are needed, and nobody is given up within a minute.
    pub fn of(sites: u32, rounds: u64) -> Self {
        Self {
            rounds,
            min: sites,
            target: sites,
            join: "1m",
            report: "1m",
            weight: r#"{ by = "uniform", max = 1 }"#,
        }
    }

    pub fn to_toml(self) -> String {
        let Self {
            rounds,
            min,
            target,
            join,
            report,
            weight,
        } = self;
        format!(
            r#"schema = "veilsum.study/v1"
name = "test"
[rounds]
count = {rounds}
cohort = {{ min = {min}, target = {target} }}
join_timeout = "{join}"
report_timeout = "{report}"
[secagg]
clip = {{ kind = "element", value = 1.0 }}
weight = {weight}
[model]
initial = "model.safetensors"
[metrics]
loss = {{ range = [0.0, 10.0] }}
"#
        )
    }
}
