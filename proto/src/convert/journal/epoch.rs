//! What happens while an epoch is set up.

use prost::Message;
use veilsum_common::limits::MAX_MEMBERS;
use veilsum_engine::epoch::Event;
use veilsum_secagg::keys::MemberId;

use super::{Journalled, indices, member_list, message, reason, site};
use crate::convert::{ConvertError, at_most, digest, required};
use crate::pb;
use crate::pb::epoch_event::Event as Told;

impl Journalled for Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::Advertised { .. } => "advertised",
            Self::RosterClosed { .. } => "roster_closed",
            Self::Confirmed(_) => "confirmed",
            Self::Certified { .. } => "certified",
            Self::Failed(_) => "failed",
        }
    }

    fn encode(&self) -> Vec<u8> {
        let event = match self {
            Self::Advertised {
                site,
                advertisement,
            } => Told::Advertised(pb::SiteAdvertised {
                site: site.to_string(),
                advertisement: Some((**advertisement).clone().into()),
            }),
            Self::RosterClosed { members } => Told::RosterClosed(pb::RosterClosed {
                members: members.iter().map(|id| id.0.0.to_vec()).collect(),
            }),
            Self::Confirmed(confirmation) => Told::Confirmed((*confirmation).into()),
            Self::Certified { members } => Told::Certified(member_list(members)),
            Self::Failed(why) => Told::Failed(reason::write(why)),
        };
        pb::EpochEvent { event: Some(event) }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, ConvertError> {
        let entry: pb::EpochEvent = message(bytes)?;
        Ok(match required("event", entry.event)? {
            Told::Advertised(advertised) => Self::Advertised {
                site: site("site", &advertised.site)?,
                advertisement: Box::new(
                    required("advertisement", advertised.advertisement)?.try_into()?,
                ),
            },
            Told::RosterClosed(closed) => Self::RosterClosed {
                members: ids(&closed.members)?,
            },
            Told::Confirmed(confirmation) => Self::Confirmed(confirmation.try_into()?),
            Told::Certified(list) => Self::Certified {
                members: indices("certified", list.indices)?,
            },
            Told::Failed(why) => Self::Failed(reason::read(why)?),
        })
    }
}

fn ids(members: &[Vec<u8>]) -> Result<Vec<MemberId>, ConvertError> {
    at_most("members", members.len(), MAX_MEMBERS, "members")?;
    let id = |bytes: &Vec<u8>| digest("members", bytes).map(MemberId);
    members.iter().map(id).collect()
}
