//! Files of the log: opened with their lock, and what can be asked of them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::audit::AuditError;

/// Makes a name last that a file in this folder has got.
pub(in crate::audit) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

pub(in crate::audit) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(in crate::audit) fn append(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // who asked for what is nobody else's business; a group may be let in by chmod, which rotation keeps
    options.append(true).mode(0o600).open(path)
}

/// Opens or creates the file and takes its lock. Gives back its length and whether it is a regular file.
pub(in crate::audit) fn open_locked(path: &Path) -> Result<(File, u64, bool), AuditError> {
    let error = |source| AuditError::Open {
        path: path.to_owned(),
        source,
    };
    for _ in 0..OPEN_TRIES {
        let file = append(OpenOptions::new().create(true), path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        if !metadata.is_file() {
            return Ok((file, 0, false));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        // between open and lock another process may have rotated the file away
        if is_at(&file, path).map_err(error)? {
            let len = file.metadata().map_err(error)?.len();
            return Ok((file, len, true));
        }
    }
    Err(AuditError::Locked {
        path: path.to_owned(),
    })
}

/// Whether the open file is the one at this path.
pub(in crate::audit) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

const OPEN_TRIES: u32 = 8;
