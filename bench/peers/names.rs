//! The C names of a malloc, each a jump to a peer's own function.
//!
//! Promises: in an optimised build a name costs one jump more than in the peer's own build, and
//! nothing else of Rust is on the way.

/// Writes the names: what each takes and gives, and the peer's function.
macro_rules! names {
    ($($name:ident => fn $theirs:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        mod theirs {
            use core::ffi::*;
            unsafe extern "C" {
                $(pub(super) fn $theirs($($argument: $type),*) $(-> $result)?;)*
            }
        }
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the duties of the caller are those of the peer's function, passed on.
                unsafe { theirs::$theirs($($argument),*) }
            }
        )*
    };
}
