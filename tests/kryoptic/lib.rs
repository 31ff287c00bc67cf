//! The door of a PKCS#11 module; all that is behind it is kryoptic.

use kryoptic_lib::pkcs11::{CK_FUNCTION_LIST_PTR_PTR, CK_RV};

#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    kryoptic_lib::fns::general::fn_get_function_list(list)
}
