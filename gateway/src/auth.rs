//! Who may connect: tokens and the keys that verify them.
