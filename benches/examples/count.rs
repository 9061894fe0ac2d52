//! One kernel, so many times: what `cargo xtask instructions` counts the instructions of. `count mask 3` masks three chunks.

use std::hint::black_box;

use anyhow::Context as _;
use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_common::quantise::{Measure, Quantiser};
use veilsum_secagg::keys::Seed;
use veilsum_secagg::mask::Masks;
use veilsum_secagg::prg::{Prg, Sign};
use veilsum_secagg::ring::{pack, packed_len, unpack_add};

const ELEMENTS: usize = CHUNK_ELEMS as usize;
const STREAMS: u8 = 8;
const RING_BITS: u8 = 21;

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let (kernel, times) = words
        .next()
        .zip(words.next())
        .context("usage: count KERNEL TIMES")?;
    let work = kernel_called(&kernel)?;
    repeat(work, times.parse()?);
    Ok(())
}

fn repeat(mut work: Box<dyn FnMut()>, times: u32) {
    for _ in 0..times {
        work();
    }
}

fn kernel_called(name: &str) -> anyhow::Result<Box<dyn FnMut()>> {
    let (mut lanes, values) = (vec![0u32; ELEMENTS], vec![0.25f32; ELEMENTS]);
    let mut packed = Vec::with_capacity(packed_len(CHUNK_ELEMS, RING_BITS));
    Ok(match name {
        "mask" => {
            let seeds = (0..STREAMS).map(|k| (Sign::Plus, Seed::new([k; 32])));
            let masks = Masks::new(Prg::Aes256Ctr, seeds.collect());
            Box::new(move || masks.add(0, black_box(&mut lanes)))
        }
        "pack" => Box::new(move || {
            packed.clear();
            pack(black_box(&lanes), RING_BITS, &mut packed);
        }),
        "fold" => {
            pack(&lanes, RING_BITS, &mut packed);
            Box::new(move || {
                unpack_add(black_box(&packed), RING_BITS, &mut lanes).expect("packed above");
            })
        }
        "measure" => Box::new(move || {
            Measure::new()
                .add(black_box(&values))
                .expect("all are finite");
        }),
        "quantise" => {
            let rule = Quantiser::new(1.0, None, 1, 12).context("settings")?;
            let begun = rule.begin(1, Measure::new()).context("weight")?;
            Box::new(move || {
                begun
                    .chunk(0, black_box(&values), &mut |_| (), &mut lanes)
                    .expect("all are finite");
            })
        }
        _ => anyhow::bail!("no kernel is called {name}"),
    })
}
