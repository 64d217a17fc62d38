//! The contexts of the VM by the numbers that Envoy gives them: plugin instances and streams.

use std::cell::RefCell;
use std::rc::Rc;

use sidetrack_proxy::host::Host as _;
use sidetrack_proxy::instance::Worker;

use crate::envoy::{Call, Envoy};
use crate::host;

pub(crate) type Instance = sidetrack_proxy::instance::Instance<Envoy>;
pub(crate) type Stream = sidetrack_proxy::stream::Stream<Call>;

thread_local! {
    static WORKER: Rc<Worker<Envoy>> = Rc::default();
    /// One, and those whose last requests have not ended.
    static INSTANCES: RefCell<Vec<(u32, Instance)>> = const { RefCell::new(Vec::new()) };
    /// Sorted. Envoy numbers contexts in ascending order, so a new one goes to the end.
    static STREAMS: RefCell<Vec<(u32, Box<Stream>)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn create_instance(id: u32) {
    let instance = WORKER.with(|worker| Instance::new(Envoy, Rc::clone(worker)));
    INSTANCES.with_borrow_mut(|instances| instances.push((id, instance)));
}

/// Creates a stream with the configuration that its plugin instance has now.
pub(crate) fn create_stream(id: u32, instance: u32) {
    let runtime = with_instance(instance, |it| it.runtime()).flatten();
    let stream = (id, Box::new(Stream::new(id, runtime)));
    STREAMS.with_borrow_mut(|streams| {
        let place = streams.partition_point(|(other, _)| *other < id);
        streams.insert(place, stream);
    });
}

pub(crate) fn delete(id: u32) {
    let found = STREAMS
        .with_borrow_mut(|streams| position(streams, id).map(|place| streams.remove(place).1));
    match found {
        Some(mut stream) => stream.delete(&Call),
        None => INSTANCES.with_borrow_mut(|instances| instances.retain(|(other, _)| *other != id)),
    }
}

/// Acts on a stream; `None` if Envoy names a context that it has not created.
pub(crate) fn with_stream<T>(id: u32, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
    STREAMS.with_borrow_mut(|streams| {
        let place = position(streams, id)?;
        streams.get_mut(place).map(|(_, stream)| act(stream))
    })
}

/// Looks at streams whose response has begun and does not end. Envoy calls the filter for them only
/// at their end, so the tick of a plugin instance does it in their place.
pub(crate) fn look_at_long_streams(root: u32) {
    STREAMS.with_borrow_mut(|streams| {
        if streams.is_empty() {
            return;
        }
        let uptime = Envoy.uptime();
        for (id, stream) in streams.iter_mut().filter(|(_, stream)| stream.is_long(uptime)) {
            if host::act_on(*id).is_ok() {
                stream.look(&Call);
                host::act_on(root).ok();
            }
        }
    });
}

/// Acts on a plugin instance; `None` if Envoy names a context that it has not created.
pub(crate) fn with_instance<T>(id: u32, act: impl FnOnce(&mut Instance) -> T) -> Option<T> {
    INSTANCES.with_borrow_mut(|instances| {
        instances.iter_mut().find(|(other, _)| *other == id).map(|(_, instance)| act(instance))
    })
}

fn position(streams: &[(u32, Box<Stream>)], id: u32) -> Option<usize> {
    streams.binary_search_by_key(&id, |(other, _)| *other).ok()
}
