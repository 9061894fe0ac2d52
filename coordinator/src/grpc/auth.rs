//! Who is calling: from the certificate of the connection, never from a message body.

use tonic::{Request, Status};
use veilsum_common::ids::SiteName;
use veilsum_daemon::identity::{Federation, PeerIdentity, Role};

use super::status;
use crate::serve::PeerCertificate;

/// An authenticated caller in the role that the call needs.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name, from the certificate.
    pub name: SiteName,
    /// Its leaf certificate, DER.
    pub leaf: Vec<u8>,
}

impl Caller {
    /// The caller of `request`, if its certificate has `role`.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a usable identity, PERMISSION_DENIED in another role.
    pub fn of<T>(
        request: &Request<T>,
        federation: &Federation,
        role: Role,
    ) -> Result<Self, Status> {
        let certificate = request.extensions().get::<PeerCertificate>();
        let leaf = certificate
            .ok_or_else(status::no_certificate)?
            .der()
            .to_vec();
        let identity = PeerIdentity::from_leaf(&leaf, federation)
            .map_err(|error| status::bad_identity(&error))?;
        if identity.role != role {
            return Err(status::wrong_role(&identity, role));
        }
        Ok(Self {
            name: identity.name,
            leaf,
        })
    }
}
