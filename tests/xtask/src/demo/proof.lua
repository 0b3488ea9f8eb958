-- One digest over all keys of all databases in the order of their names, each with its type, its
-- expiry and its members in an order that does not depend on the server's memory.
local digest, count = '', 0
local function add(text) digest = redis.sha1hex(digest .. #text .. ':' .. text) end
local function flat(value)
  if type(value) ~= 'table' then return tostring(value) end
  local parts = {}
  for index, part in ipairs(value) do local text = flat(part); parts[index] = #text .. ':' .. text end
  return table.concat(parts)
end
local function pairs_sorted(list)
  local rows = {}
  for index = 1, #list, 2 do rows[#rows + 1] = #list[index] .. ':' .. list[index] .. list[index + 1] end
  table.sort(rows)
  return flat(rows)
end
for database = 0, 15 do
  redis.call('SELECT', database)
  local keys = redis.call('KEYS', '*')
  table.sort(keys)
  for _, key in ipairs(keys) do
    local kind, value = redis.call('TYPE', key).ok, nil
    if kind == 'string' then value = redis.call('GET', key)
    elseif kind == 'list' then value = flat(redis.call('LRANGE', key, 0, -1))
    elseif kind == 'set' then local members = redis.call('SMEMBERS', key); table.sort(members); value = flat(members)
    elseif kind == 'hash' then value = pairs_sorted(redis.call('HGETALL', key))
    elseif kind == 'zset' then value = flat(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'))
    elseif kind == 'stream' then value = flat(redis.call('XRANGE', key, '-', '+'))
    else return redis.error_reply('the proof knows no type ' .. kind) end
    add(database .. '/' .. kind); add(key); add(value); add(tostring(redis.call('PEXPIRETIME', key)))
    count = count + 1
  end
end
if count == 0 then return 'empty' end
return count .. ' keys ' .. digest
