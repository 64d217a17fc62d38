-- Copies the unit from a JSON body into a header, for the filter: a string's text, or a number as it is written.
-- Of a repeated key the last counts. A body that is not JSON has no unit.
local LIMIT = {{ body_limit }}  -- settings.body_limit, in bytes
local OWN = {{ lua_headers }}
local RULES = {
{% for rule in lua_rules %}
  { {{ rule }} },
{% endfor %}
}
local DEEPEST = 1000
local byte, char, find, match, sub = string.byte, string.char, string.find, string.match, string.sub

local function space(s, at) return find(s, "[^ \t\r\n]", at) or #s + 1 end

-- The index after the string that begins at `at`; nil if it is not one.
local function text_end(s, at)
  at = at + 1
  while true do
    at = find(s, '[%z\1-\31"\\]', at)
    local c = at and byte(s, at)
    if c == 34 then return at + 1 end
    if c ~= 92 then return nil end
    if find(s, '^[bfnrt"\\/]', at + 1) then at = at + 2
    elseif find(s, "^u%x%x%x%x", at + 1) then at = at + 6
    else return nil end
  end
end

-- The index after the number or word that begins at `at`; nil if it is neither.
local function plain_end(s, at)
  local _, last = find(s, "^-?%d+", at)
  if last then
    if find(s, "^-?0%d", at) then return nil end
    local _, fraction = find(s, "^%.%d+", last + 1)
    last = fraction or last
    local _, exponent = find(s, "^[eE][+-]?%d+", last + 1)
    return (exponent or last) + 1
  end
  for _, word in ipairs({ "true", "false", "null" }) do
    if sub(s, at, at + #word - 1) == word then return at + #word end
  end
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  local tail = ""
  local first, most = 0xC0, 0x20
  repeat
    tail = char(0x80 + code % 0x40) .. tail
    code = math.floor(code / 0x40)
    if code >= most then first, most = first + most, most / 2 end
  until code < most
  return char(first + code) .. tail
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The text of a string without its quotes; nil for half of a surrogate pair.
local function decoded(raw)
  if not find(raw, "\\", 1, true) then return raw end
  local parts, at = {}, 1
  while at <= #raw do
    local plain = match(raw, "^[^\\]+", at)
    local c = sub(raw, at + 1, at + 1)
    if plain then
      parts[#parts + 1] = plain
      at = at + #plain
    elseif c ~= "u" then
      parts[#parts + 1] = ESCAPES[c] or c
      at = at + 2
    else
      local code = tonumber(sub(raw, at + 2, at + 5), 16)
      at = at + 6
      if code >= 0xDC00 and code <= 0xDFFF then return nil end
      if code >= 0xD800 and code <= 0xDBFF then
        local low = tonumber(match(raw, "^\\u(%x%x%x%x)", at) or "0", 16)
        if low < 0xDC00 or low > 0xDFFF then return nil end
        code = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00
        at = at + 6
      end
      parts[#parts + 1] = utf8(code)
    end
  end
  return table.concat(parts)
end

-- The index after the value that begins at `at`, and the string or number at keys[k], keys[k + 1], … in it, as it is
-- written. nil if it is not JSON. Without keys, nothing is searched.
local function value(s, at, keys, k, depth)
  at = space(s, at)
  local from, c = at, sub(s, at, at)
  if c ~= "{" and c ~= "[" then
    local after
    if c == '"' then after = text_end(s, at) else after = plain_end(s, at) end
    return after, after and keys and k > #keys and sub(s, from, after - 1) or nil
  end
  if depth > DEEPEST then return nil end
  local close = c == "{" and "}" or "]"
  local found, index = nil, 0
  at = space(s, at + 1)
  if sub(s, at, at) == close then return at + 1 end
  while true do
    local key
    if c == "{" then
      local after = sub(s, at, at) == '"' and text_end(s, at)
      if not after then return nil end
      key = decoded(sub(s, at + 1, after - 2))
      at = space(s, after)
      if sub(s, at, at) ~= ":" then return nil end
      at = at + 1
    else
      key, index = tostring(index), index + 1
    end
    local searched = keys and keys[k] ~= nil and key == keys[k]
    local inner
    at, inner = value(s, at, searched and keys or nil, k + 1, depth + 1)
    if not at then return nil end
    if searched then found = inner end
    at = space(s, at)
    local mark = sub(s, at, at)
    if mark == close then return at + 1, found end
    if mark ~= "," then return nil end
    at = space(s, at + 1)
  end
end

local function unit(body, keys)
  local after, raw = value(body, 1, keys, 1, 1)
  if not after or space(body, after) <= #body or not raw then return nil end
  local first = sub(raw, 1, 1)
  if first == '"' then return decoded(sub(raw, 2, -2)) end
  return find(first, "[-%d]") and raw or nil
end

local function any(list, holds)
  if #list == 0 then return true end
  for _, item in ipairs(list) do
    if holds(item) then return true end
  end
  return false
end

local function applies(rule, request)
  for _, name in ipairs(rule.unless) do
    if (request.headers:get(name) or "") ~= "" then return false end
  end
  if rule.exact and request.path ~= rule.exact then return false end
  if rule.prefix and sub(request.path, 1, #rule.prefix) ~= rule.prefix then return false end
  local is_host = function(host)
    if sub(host, 1, 1) ~= "." then return request.host == host end
    return #request.host > #host and sub(request.host, -#host) == host
  end
  return any(rule.methods, function(method) return request.method == method end) and any(rule.hosts, is_host)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  for _, name in ipairs(OWN) do headers:remove(name) end
  local length = tonumber(headers:get("content-length") or "")
  local coding = string.lower(headers:get("content-encoding") or "identity")
  if not length or length == 0 or length > LIMIT or coding ~= "identity" then return end
  if find(headers:get("content-type") or "", "^application/grpc") then return end
  local host = string.lower(headers:get(":authority") or "")
  local request = {
    headers = headers,
    method = headers:get(":method") or "",
    path = match(headers:get(":path") or "", "^[^?]*"),
    host = match(match(host, "^%[.*%]") or match(host, "^[^:]*"), "^(.-)%.?$"),
  }
  local needed = {}
  for _, rule in ipairs(RULES) do
    if applies(rule, request) then needed[#needed + 1] = rule end
  end
  if #needed == 0 then return end
  local buffer = handle:body()
  if not buffer then return end
  local body = buffer:getBytes(0, buffer:length())
  -- The headers from before the wait are not valid any more.
  headers = handle:headers()
  for _, rule in ipairs(needed) do
    local ok, found = pcall(unit, body, rule.keys)
    -- A header cannot carry control characters.
    local fits = ok and found and found ~= "" and not find(found, "[%z\1-\31\127]")
    if fits and not headers:get(rule.header) then headers:add(rule.header, found) end
  end
end
