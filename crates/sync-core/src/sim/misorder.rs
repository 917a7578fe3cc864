//! Actions in an order that keeps no promise: what an engine without one of the ordering protections would return.

use sync_types::DeviceMsg;

use crate::{
    event::{Action, StoreOp},
    protection::{Protection, Protections},
};

/// Takes the order of one input's actions apart, if the protection that keeps it is switched off.
pub(crate) fn misorder(protections: Protections, actions: &mut Vec<Action>) {
    let off = |protection| !protections.hold(protection);
    if off(Protection::StoreBeforeReply) {
        actions.sort_by_key(|action| !matches!(action, Action::Reply { .. }));
    }
    if off(Protection::StoreBeforeSend) {
        actions.sort_by_key(|action| !matches!(action, Action::Send { .. }));
    }
    if off(Protection::StoreBeforeEvent) {
        actions.sort_by_key(|action| !matches!(action, Action::Emit(_)));
    }
    if off(Protection::ReceiptAfterStore) {
        let is_receipt = |action: &Action| matches!(action, Action::Send { message: DeviceMsg::Receipt(_), .. });
        actions.sort_by_key(|action| !is_receipt(action));
    }
    if off(Protection::StoredPosition) {
        // The position by itself, and first.
        let mut apart = Vec::new();
        for action in actions.drain(..) {
            let Action::Store(ops) = action else {
                apart.push(action);
                continue;
            };
            let (position, rest): (Vec<_>, Vec<_>) =
                ops.into_iter().partition(|op| matches!(op, StoreOp::Relay { .. }));
            apart.extend([position, rest].into_iter().filter(|ops| !ops.is_empty()).map(Action::Store));
        }
        *actions = apart;
    }
}
