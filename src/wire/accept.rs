//! A fresh connection: which protocol it speaks, told by its first bytes.
