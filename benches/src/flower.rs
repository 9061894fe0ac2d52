//! P4 and P5: Flower's SecAgg+ against ours on the same work, by turns: its client's stages and its server's last one.

use serde_json::Value;

use crate::Wanted;
use crate::cast::Cast;
use crate::figure::{Figure, REPETITIONS, middle};
use crate::ours::{Site, unmasking};
use crate::peers::Peer;

/// What both do: how many sites, elements, and sites lost.
struct Work {
    sites: u8,
    elements: u64,
    drops: &'static [u32],
}

/// The sites of the figures themselves, at 10^6 elements; all else is a variant.
const SITES: u8 = 100;

/// Variants of P4: sites and elements.
const VARIANTS: [(u8, u64); 4] = [
    (10, 1_000_000),
    (32, 1_000_000),
    (10, 10_000_000),
    (32, 10_000_000),
];

/// Those of P4 and P5 that are wanted; none, and a word on standard error, if Flower cannot be run here.
pub fn figures(wanted: &Wanted) -> Vec<Figure> {
    match measured(wanted) {
        Ok(figures) => figures,
        Err(error) => {
            eprintln!(
                "veilsum-benches: P4 and P5 are SKIPPED, Flower cannot be run here: {error:#}"
            );
            Vec::new()
        }
    }
}

fn measured(wanted: &Wanted) -> anyhow::Result<Vec<Figure>> {
    let drops: &[u32] = match (wanted.has("P5a"), wanted.has("P5b")) {
        (true, true) => &[0, 10],
        (true, false) => &[0],
        (false, true) => &[10],
        (false, false) => &[],
    };
    let mut figures = compare(&Work {
        sites: SITES,
        elements: 1_000_000,
        drops,
    })?;
    if wanted.has("P4a") || wanted.has("P4b") {
        for (sites, elements) in VARIANTS {
            figures.extend(compare(&Work {
                sites,
                elements,
                drops: &[],
            })?);
        }
    }
    Ok(figures)
}

/// One run of Flower, with our turn after each of its own.
fn compare(work: &Work) -> anyhow::Result<Vec<Figure>> {
    let cast = Cast::new(work.sites, work.elements);
    let mut site = Site::new(&cast);
    let mut peer = Peer::start("flower.py", &work.arguments())?;
    let (mut masking, mut together) = (Vec::new(), Vec::new());
    let (mut figures, mut versions) = (Vec::new(), Value::Null);
    while let Some(line) = peer.next()? {
        if let (Some(theirs), Some(both)) = (line["masking"].as_f64(), line["together"].as_f64()) {
            masking.push((theirs, site.masking()));
            together.push((both, site.together()));
        } else if let (Some(drops), Some(theirs)) =
            (line["drops"].as_u64(), line["unmask"].as_f64())
        {
            let released = cast.release(u32::try_from(drops)?);
            let ours = (0..REPETITIONS).map(|_| (theirs, unmasking(&cast, &released)));
            let id = if drops == 0 { "P5a" } else { "P5b" };
            figures.push(work.figure(id, &versions, ours.collect()));
        } else {
            versions = line;
        }
        peer.go_on()?;
    }
    figures.insert(0, work.figure("P4b", &versions, together));
    figures.insert(0, work.figure("P4a", &versions, masking));
    Ok(figures)
}

impl Work {
    fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            "--sites".to_owned(),
            self.sites.to_string(),
            "--elements".to_owned(),
            self.elements.to_string(),
            "--drops".to_owned(),
        ];
        words.extend(self.drops.iter().map(u32::to_string));
        words
    }

    /// `seconds`: Flower's and ours of each turn.
    fn figure(&self, id: &str, versions: &Value, seconds: Vec<(f64, f64)>) -> Figure {
        let mut ratios: Vec<_> = seconds.iter().map(|(theirs, ours)| theirs / ours).collect();
        let (mut theirs, mut ours): (Vec<_>, Vec<_>) = seconds.into_iter().unzip();
        let (value, quartiles) = middle(&mut ratios);
        let text = |key: &str| versions[key].as_str().unwrap_or("unknown").to_owned();
        Figure {
            id: self.id(id),
            value,
            unit: "time / time",
            against: format!(
                "flwr {}, numpy {}, Python {}: {:.4} s; ours {:.4} s; {} sites, each with a share of every other, {} elements",
                text("flwr"),
                text("numpy"),
                text("python"),
                middle(&mut theirs).0,
                middle(&mut ours).0,
                self.sites,
                self.elements,
            ),
            quartiles,
        }
    }

    fn id(&self, id: &str) -> String {
        if self.sites == SITES {
            id.to_owned()
        } else {
            format!("{id}/n={},d={:e}", self.sites, self.elements)
        }
    }
}
