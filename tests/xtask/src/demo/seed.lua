-- Fills Redis the way backend-listener and sidekiq do: every value comes from its number, so that
-- two runs of the demo hold the same data.
local function fill(database, count)
  redis.call('SELECT', database)
  for n = 1, count do
    local name = string.format('%06d', n)
    redis.call('SET', 'application/service_id:2/id:' .. name .. '/state', 'active ' .. redis.sha1hex(name))
    if n % 10 == 0 then
      redis.call('SET', 'stats/' .. name .. '\0\r\n\255', string.rep(name, n % 50), 'PXAT', 4102444800000 + n)
      redis.call('HSET', 'metrics/' .. name, 'hits', n, 'name', 'caf\195\169 ' .. name)
      redis.call('RPUSH', 'queue:' .. n % 7, '{"class":"ReportJob","jid":' .. n .. '}')
      redis.call('SADD', 'services_set', name)
      redis.call('ZADD', 'schedule', n + 0.25, name)
      redis.call('XADD', 'events', n .. '-1', 'id', name)
    end
  end
end
fill(0, tonumber(ARGV[1]))
fill(1, tonumber(ARGV[1]) / 10)
return 'seeded'
