//! One HTTP stream through the filter, callback by callback, and its result.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::abi::Action;
use super::guest::Context;
use super::headers::{HeaderMap, word};
use super::shared::locked;
use super::state::{Body, LocalResponse, Phase, StreamState};
use super::vm::{Dead, Vm};

/// A stream. Callbacks that the module does not export are skipped, as in Envoy.
pub struct Stream {
    vm: Vm,
    id: OnceLock<u32>,
    state: Arc<Mutex<StreamState>>,
}

impl Stream {
    pub(super) fn new(vm: Vm) -> Self {
        let state = StreamState { started_ns: locked(&vm.shared).now_ns, ..StreamState::default() };
        Self { vm, id: OnceLock::new(), state: Arc::new(Mutex::new(state)) }
    }

    /// The request's headers reach the filter.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies; so for every callback.
    pub fn request_headers(
        &self,
        headers: impl Into<HeaderMap>,
        end: bool,
    ) -> Result<Action, Dead> {
        self.create()?;
        self.lines(0, Phase::Request, "proxy_on_request_headers", headers.into(), Some(end))
    }

    /// A piece of the request's body.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn request_body(&self, chunk: impl AsRef<[u8]>, end: bool) -> Result<Action, Dead> {
        self.body(
            "proxy_on_request_body",
            Phase::Request,
            |state| &mut state.request_body,
            chunk.as_ref(),
            end,
        )
    }

    /// The request's trailers.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn request_trailers(&self, trailers: impl Into<HeaderMap>) -> Result<Action, Dead> {
        self.lines(1, Phase::Request, "proxy_on_request_trailers", trailers.into(), None)
    }

    /// The response's headers, with `:status`.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn response_headers(
        &self,
        headers: impl Into<HeaderMap>,
        end: bool,
    ) -> Result<Action, Dead> {
        self.lines(2, Phase::Response, "proxy_on_response_headers", headers.into(), Some(end))
    }

    /// A piece of the response's body.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn response_body(&self, chunk: impl AsRef<[u8]>, end: bool) -> Result<Action, Dead> {
        self.body(
            "proxy_on_response_body",
            Phase::Response,
            |state| &mut state.response_body,
            chunk.as_ref(),
            end,
        )
    }

    /// The response's trailers.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn response_trailers(&self, trailers: impl Into<HeaderMap>) -> Result<Action, Dead> {
        self.lines(3, Phase::Response, "proxy_on_response_trailers", trailers.into(), None)
    }

    /// The stream ends: log, done, delete. Without an earlier callback, these are the first ones
    /// for this stream.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn finish(&self) -> Result<(), Dead> {
        self.log()?;
        self.delete()
    }

    /// The same with HTTP/3, when the caller acknowledges the answer late: done, delete, and only
    /// then log.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn finish_and_log_late(&self) -> Result<(), Dead> {
        self.delete()?;
        self.log()
    }

    fn log(&self) -> Result<(), Dead> {
        let id = self.create()?;
        let mut inner = locked(&self.vm.inner);
        self.state().phase = Phase::Log;
        inner.call(id, "proxy_on_log", &[id])?;
        inner.log(&self.state)
    }

    fn delete(&self) -> Result<(), Dead> {
        let id = self.create()?;
        let mut inner = locked(&self.vm.inner);
        self.state().phase = Phase::Done;
        inner.call(id, "proxy_on_done", &[id])?;
        inner.call(id, "proxy_on_delete", &[id])?;
        if let Some(Context::Stream { root, .. }) = inner.host().contexts.remove(&id)
            && let Some(root) = inner.host().root_mut(root)
        {
            root.streams -= 1;
        }
        inner.sweep()
    }

    /// Sets a property such as `["upstream", "address"]`; it wins over what the host derives from
    /// the headers.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.state().properties.insert(path.join("\0").into_bytes(), value.as_ref().to_vec());
    }

    /// Sets a numeric property, 8 bytes little-endian, such as `["response", "flags"]`.
    pub fn set_number(&self, path: &[&str], value: i64) {
        self.set_property(path, value.to_le_bytes());
    }

    /// The request's headers as they stand.
    #[must_use]
    pub fn request(&self) -> HeaderMap {
        self.state().request.headers.clone().unwrap_or_default()
    }

    /// The first value of a request header as it stands.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<Vec<u8>> {
        self.state().request.headers.as_ref()?.get(name).map(<[u8]>::to_vec)
    }

    /// The response's headers as they stand; none before they came.
    #[must_use]
    pub fn response(&self) -> Option<HeaderMap> {
        self.state().response.headers.clone()
    }

    /// The first value of a response header as it stands.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        self.state().response.headers.as_ref()?.get(name).map(<[u8]>::to_vec)
    }

    /// The request's body that got past the filter.
    #[must_use]
    pub fn forwarded_body(&self) -> Vec<u8> {
        self.state().request_body.passed.clone()
    }

    /// The response's body that got past the filter.
    #[must_use]
    pub fn returned_body(&self) -> Vec<u8> {
        self.state().response_body.passed.clone()
    }

    /// The answer the filter gave itself, if it did.
    #[must_use]
    pub fn local_response(&self) -> Option<LocalResponse> {
        self.state().local_response.clone()
    }

    /// What the filter set with `set_property` at this path.
    #[must_use]
    pub fn filter_state(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.state().filter_state.get(path.join("\0").as_bytes()).cloned()
    }

    /// The foreign functions the filter called and the host knew, with their arguments.
    #[must_use]
    pub fn foreign_calls(&self) -> Vec<(String, Vec<u8>)> {
        self.state().foreign_calls.clone()
    }

    /// How often the filter made Envoy forget the route: by the call for it, or by changing the
    /// request's headers.
    #[must_use]
    pub fn route_cache_clears(&self) -> usize {
        self.state().cleared_route
    }

    /// Whether the filter let a paused request (`false`) or response (`true`) go on.
    #[must_use]
    pub fn was_continued(&self, response: bool) -> bool {
        self.state().continued.contains(&u32::from(response))
    }

    /// Whether the filter reset the stream.
    #[must_use]
    pub fn was_closed(&self) -> bool {
        !self.state().closed.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, StreamState> {
        locked(&self.state)
    }

    /// The context comes to be with the first callback, as in Envoy.
    fn create(&self) -> Result<u32, Dead> {
        if let Some(id) = self.id.get() {
            return Ok(*id);
        }
        let mut inner = locked(&self.vm.inner);
        let root = inner.serving().ok_or_else(|| Dead("the VM has no configuration".to_owned()))?;
        let id = inner.new_context(Context::Stream { root, state: Arc::clone(&self.state) });
        if let Some(root) = inner.host().root_mut(root) {
            root.streams += 1;
        }
        let id = *self.id.get_or_init(|| id);
        inner.call(id, "proxy_on_context_create", &[id, root])?;
        Ok(id)
    }

    fn lines(
        &self,
        map: u32,
        phase: Phase,
        callback: &str,
        headers: HeaderMap,
        end: Option<bool>,
    ) -> Result<Action, Dead> {
        let count = word(headers.pairs().len());
        if let Some(lines) = self.enter(phase).lines_mut(map) {
            lines.headers = Some(headers);
            lines.open = true;
        }
        let more = end.map(|end| vec![count, u32::from(end)]).unwrap_or_else(|| vec![count]);
        let action = self.callback(callback, &more)?;
        if let Some(lines) = self.state().lines_mut(map) {
            lines.open = action == Action::Pause;
        }
        Ok(action)
    }

    fn body(
        &self,
        callback: &str,
        phase: Phase,
        pick: impl Fn(&mut StreamState) -> &mut Body,
        chunk: &[u8],
        end: bool,
    ) -> Result<Action, Dead> {
        let len = {
            let mut state = self.enter(phase);
            let body = pick(&mut state);
            body.buffer.extend(chunk);
            body.open = true;
            word(body.buffer.len())
        };
        let action = self.callback(callback, &[len, u32::from(end)])?;
        let mut state = self.state();
        let body = pick(&mut state);
        if action == Action::Continue {
            body.open = false;
            let bytes = std::mem::take(&mut body.buffer);
            body.passed.extend(bytes);
        }
        Ok(action)
    }

    fn enter(&self, phase: Phase) -> MutexGuard<'_, StreamState> {
        let mut state = self.state();
        state.phase = phase;
        state
    }

    /// A stream that the filter has not heard of skips everything but the log.
    fn callback(&self, name: &str, arguments: &[u32]) -> Result<Action, Dead> {
        let Some(id) = self.id.get() else {
            return Ok(Action::Continue);
        };
        let mut inner = locked(&self.vm.inner);
        let answer = inner.call(*id, name, &[&[*id], arguments].concat())?;
        let pause = answer.is_some_and(|answer| answer != 0 || inner.host().stopped);
        Ok(if pause { Action::Pause } else { Action::Continue })
    }
}
