-- What a Lua filter needs for the same answer: FNV-1a over the user, a bucket, the variant's headers both ways.
local EXPERIMENT, BASELINE, ENHANCED = "financial-ab-test", "baseline-predictor", "enhanced-predictor"
local bxor, byte = bit.bxor, string.byte

local function bucket(unit)
  local hash = 2166136261
  for i = 1, #unit do
    hash = bxor(hash, byte(unit, i)) % 4294967296
    -- hash * 16777619, in halves that a double holds exactly.
    hash = (hash * 403 + (hash % 256) * 16777216) % 4294967296
  end
  return math.floor(hash * 1000000 / 4294967296)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local unit = headers:get("x-user-id")
  local variant = BASELINE
  if unit and bucket(unit) < 300000 then
    variant = ENHANCED
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
