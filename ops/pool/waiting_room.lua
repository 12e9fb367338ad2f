-- Lets callers wait for a place, in the order in which they came. Arguments: the backend, and the time limit in
-- milliseconds; then the call goes on, and is refused if there is still no place.
--
-- HAProxy's own queue does not suffice. It needs a server that takes calls, and a full host takes none. And it
-- hands a place on in the moment in which a call ends, while the host is still closing that call and refuses.

local POLL_MILLISECONDS = 50
local SETTLE_MILLISECONDS = 300 -- how long a place has to be free before it is handed on
local GONE_MILLISECONDS = 1000 -- who has not polled for this long has hung up

local waiting = {} -- of each caller who waits, by number: `polled` in milliseconds, `address`
local last_number = 0

local function milliseconds()
    local now = core.now()
    return now.sec * 1000 + now.usec // 1000
end

-- How many callers come first. An address counts once, so that nobody can fill the queue alone.
local function count_before(number, now)
    local count, counted = 0, {}
    for other, caller in pairs(waiting) do
        if now - caller.polled > GONE_MILLISECONDS then
            waiting[other] = nil
        elseif other < number and not counted[caller.address] then
            counted[caller.address] = true
            count = count + 1
        end
    end
    return count
end

core.register_action("wait_for_place", { "http-req" }, function(txn, backend, limit)
    local function free_places()
        return txn.f:nbsrv(backend) > 0 and txn.f:be_conn_free(backend) or 0
    end
    if next(waiting) == nil and free_places() > 0 then
        return
    end
    last_number = last_number + 1
    local number, began, free_since = last_number, milliseconds(), nil
    local address = txn.f:src()
    while true do
        local now = milliseconds()
        waiting[number] = { polled = now, address = address }
        if now - began >= tonumber(limit) then
            break
        elseif free_places() > count_before(number, now) then
            free_since = free_since or now
            if now - free_since >= SETTLE_MILLISECONDS then
                break
            end
        else
            free_since = nil
        end
        core.msleep(POLL_MILLISECONDS)
    end
    waiting[number] = nil
end, 2)
