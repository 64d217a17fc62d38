-- What a Lua filter needs for the very answer that Sidetrack gives: the same draw (SHA-256), the same headers both ways,
-- and none of what a client sent under their names. Written as for production: operators and tables are locals, the
-- beginning of the message is prepared, and one block is all that a user of usual length needs.
local EXPERIMENT, BASELINE, ENHANCED = "financial-ab-test", "baseline-predictor", "enhanced-predictor"
local OWN = {
  "x-ab-assigned", "x-ab-phase", "x-ab-mirror", "x-ab-force", "x-ab-token", "x-ab-debug", "x-ab-reason",
  "x-ab-bucket", "x-ab-breaker", "x-ab-config",
}
local PREFIX = "arm1\0" .. EXPERIMENT .. "\0"

local band, bnot, bxor, bor = bit.band, bit.bnot, bit.bxor, bit.bor
local ror, rshift, lshift, tobit = bit.ror, bit.rshift, bit.lshift, bit.tobit
local byte, char, rep, floor = string.byte, string.char, string.rep, math.floor

local K = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
for i = 1, 64 do
  K[i] = tobit(K[i])
end

-- The first 64 bits of SHA-256, as two signed numbers of 32 bits. The schedule is reused, since nothing here yields.
local w = {}
for i = 1, 64 do
  w[i] = 0
end
local function sha256(message)
  local length = #message
  message = message .. "\128" .. rep("\0", (55 - length) % 64) .. "\0\0\0\0"
    .. char(rshift(length, 21), band(rshift(length, 13), 255), band(rshift(length, 5), 255), band(lshift(length, 3), 255))
  local h1, h2, h3, h4 = 0x6a09e667, tobit(0xbb67ae85), 0x3c6ef372, tobit(0xa54ff53a)
  local h5, h6, h7, h8 = 0x510e527f, tobit(0x9b05688c), 0x1f83d9ab, 0x5be0cd19
  for at = 1, #message, 64 do
    for i = 1, 16 do
      local a, b, c, d = byte(message, at + i * 4 - 4, at + i * 4 - 1)
      w[i] = bor(lshift(a, 24), lshift(b, 16), lshift(c, 8), d)
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = tobit(
        w[i - 16] + w[i - 7] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
      )
    end
    local a, b, c, d, e, f, g, h = h1, h2, h3, h4, h5, h6, h7, h8
    for i = 1, 64 do
      local t = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(g, band(e, bxor(f, g))) + K[i] + w[i]
      local u = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bor(band(a, b), band(c, bor(a, b)))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t), c, b, a, tobit(t + u)
    end
    h1, h2, h3, h4 = tobit(h1 + a), tobit(h2 + b), tobit(h3 + c), tobit(h4 + d)
    h5, h6, h7, h8 = tobit(h5 + e), tobit(h6 + f), tobit(h7 + g), tobit(h8 + h)
  end
  return h1, h2
end

-- draw * 1 000 000 >> 64, in steps that a double holds exactly.
local function bucket(unit)
  local high, low = sha256(PREFIX .. unit)
  local carry = floor(low % 4294967296 * 1000000 / 4294967296)
  return floor((high % 4294967296 * 1000000 + carry) / 4294967296)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local unit = headers:get("x-user-id")
  local variant = BASELINE
  if unit and unit ~= "" and bucket(unit) < 300000 then
    variant = ENHANCED
  end
  for i = 1, #OWN do
    headers:remove(OWN[i])
  end
  headers:replace("x-ab-experiment", EXPERIMENT)
  headers:replace("x-ab-variant", variant)
  headers:replace("x-ab-cluster", variant)
  handle:streamInfo():dynamicMetadata():set("sidetrack", "variant", variant)
end

function envoy_on_response(handle)
  local chosen = handle:streamInfo():dynamicMetadata():get("sidetrack")
  if chosen then
    local headers = handle:headers()
    headers:replace("x-ab-experiment", EXPERIMENT)
    headers:replace("x-ab-variant", chosen["variant"])
  end
end
