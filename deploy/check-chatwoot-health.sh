#!/bin/sh
# The backup of "chatwoot-sla check", for when the binary cannot run.
# Needs a POSIX shell and utilities, and curl. Same probes, same exit codes:
#
#   0 all passed            1 configuration missing   2 rails health failed
#   3 authenticated API failed   4 both failed
#
# Settings come from the environment, then from .env in the working directory,
# which is read and never executed: CHATWOOT_BASE_URL, CHATWOOT_TOKEN or
# CHATWOOT_API_TOKEN (or the file named by either with _FILE), CHATWOOT_ACCOUNT_ID, CHATWOOT_HEALTH_PATH, ARTIFACTS_DIR.
# PROBE_TIMEOUT is the seconds that each probe may take, 10 by default.

set -u
umask 027
LC_ALL=C
export LC_ALL

mistakes=''
mistake() { mistakes="$mistakes$1
"; }

# dotenv NAME prints what .env gives to NAME. Quotes go, and so does a comment
# after an unquoted value. The last line wins.
dotenv() {
  [ -n "$use_dotenv" ] || return 0
  awk -v name="$1" -v sq="'" '
    { sub(/\r$/, ""); sub(/^[ \t]*(export[ \t]+)?/, "") }
    substr($0, 1, length(name)) != name { next }
    {
      rest = substr($0, length(name) + 1)
      if (rest !~ /^[ \t]*[=:]/) next
      sub(/^[ \t]*[=:][ \t]*/, "", rest)
      quote = substr(rest, 1, 1)
      if (quote == "\"" || quote == sq) {
        rest = substr(rest, 2)
        end = index(rest, quote)
        value = end ? substr(rest, 1, end - 1) : rest
      } else {
        sub(/^#.*/, "", rest)
        sub(/[ \t]+#.*/, "", rest)
        sub(/[ \t]+$/, "", rest)
        value = rest
      }
    }
    END { printf "%s", value }
  ' ./.env
}

# Whoever can write .env could send the token elsewhere.
use_dotenv=''
if [ -f ./.env ]; then
  if [ -n "$(find -L ./.env ! -user "$(id -u)" ! -user 0)" ]; then
    mistake '.env belongs to another user: chown it to the one who runs this check'
  elif [ -n "$(find -L ./.env \( -perm -020 -o -perm -002 \))" ]; then
    mistake '.env can be written by others: chmod go-w .env'
  elif [ ! -r ./.env ]; then
    mistake '.env cannot be read by this user: chown it, or chmod u+r .env'
  else
    use_dotenv=yes
  fi
fi

contents() { [ -z "$1" ] || cat "$1"; }

base=${CHATWOOT_BASE_URL:-$(dotenv CHATWOOT_BASE_URL)}
token=${CHATWOOT_TOKEN:-${CHATWOOT_API_TOKEN:-}}
[ -n "$token" ] || token=$(contents "${CHATWOOT_TOKEN_FILE:-${CHATWOOT_API_TOKEN_FILE:-}}")
for name in CHATWOOT_TOKEN CHATWOOT_API_TOKEN; do
  [ -n "$token" ] || token=$(dotenv $name)
  [ -n "$token" ] || token=$(contents "$(dotenv ${name}_FILE)")
done
account=${CHATWOOT_ACCOUNT_ID:-$(dotenv CHATWOOT_ACCOUNT_ID)}
health_path=${CHATWOOT_HEALTH_PATH:-$(dotenv CHATWOOT_HEALTH_PATH)}
health_path=${health_path:-/rails/health}
artifacts=${ARTIFACTS_DIR:-$(dotenv ARTIFACTS_DIR)}
artifacts=${artifacts:-./artifacts}
timeout=${PROBE_TIMEOUT:-10}

while [ "${base%/}" != "$base" ]; do base=${base%/}; done
host=${base#*://}
host=${host%%/*}

case $base in
  '') mistake 'CHATWOOT_BASE_URL environment variable not set: add it to .env, such as https://chatwoot.example.com' ;;
  http://* | https://*)
    case $host in
      '' | *[!]A-Za-z0-9._:%[-]*) mistake 'CHATWOOT_BASE_URL names no plain host: write scheme and host only, without user or password' ;;
    esac
    case $base in *[!]A-Za-z0-9._:%/~[-]*) mistake 'CHATWOOT_BASE_URL holds a character that no address of Chatwoot has: write scheme, host and path only' ;; esac
    ;;
  *) mistake 'CHATWOOT_BASE_URL is not an address: begin it with https://' ;;
esac
case $token in
  '') mistake 'CHATWOOT_TOKEN environment variable not set: add an access token of an administrator to .env' ;;
  *[!A-Za-z0-9._~+/=:-]*) mistake 'CHATWOOT_TOKEN holds a character that no Chatwoot token has: copy it again' ;;
esac
case $account in
  '') mistake 'CHATWOOT_ACCOUNT_ID environment variable not set: add the number after /app/accounts/ in the browser to .env' ;;
  0* | *[!0-9]*) mistake 'CHATWOOT_ACCOUNT_ID is not a number: use the one after /app/accounts/ in the browser' ;;
esac
case $health_path in
  /*[!A-Za-z0-9._~/-]* | [!/]*) mistake 'CHATWOOT_HEALTH_PATH is not a path: begin it with /, and leave out any query' ;;
esac
case $timeout in
  '' | *[!0-9.]* | *.*.* | .) mistake 'PROBE_TIMEOUT is not a number of seconds: leave it out for 10' ;;
  *[1-9]*) ;;
  *) mistake 'PROBE_TIMEOUT must be more than 0: leave it out for 10' ;;
esac
command -v curl >/dev/null 2>&1 || mistake 'curl is not installed: install it'

if [ -n "$mistakes" ]; then
  printf '%s' "$mistakes" >&2
  echo 'Exit code 1: Configuration missing.' >&2
  exit 1
fi

# fetch PATH SECONDS [CONFIG] sets body, status, took (seconds) and failure.
# CONFIG is more of curl's configuration; being read from standard input, it
# shows in no process list. -q: a .curlrc could follow redirects or skip TLS.
fetch() {
  answer=$(curl -q --config - --silent --globoff --proto '=http,https' --max-time "$2" \
    --header 'Accept: application/json' --write-out '\n%{http_code} %{time_total}' "$base$1" <<CONFIG
${3:-}
CONFIG
  )
  case $? in
    0) failure='' ;;
    28) failure=timeout ;;
    5 | 6) failure=dns ;;
    35 | 51 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91) failure=tls ;;
    7 | 16 | 18 | 52 | 55 | 56 | 92 | 95) failure=connection ;;
    *) failure=other ;;
  esac
  summary=${answer##*
}
  body=${answer%
*}
  status=${summary%% *}
  took=${summary#* }
  case $failure$status in
    200) ;;
    3??) failure=redirect ;;
    [0-9]??) failure=http_status ;;
  esac
}

# facts reads JSON and prints, one a line, what the probes need of it: the
# top-level "version" and "*_services" texts, and the ids of "accounts". It
# walks the whole of it, because an id may also be a user's, a role's, or part
# of somebody's name. It prints "complete" last, if the JSON is.
facts() {
  awk '
    function value(v) {
      if (depth == 1 && kind == "{" && (key == "version" || key ~ /_services$/)) print key, v
      if (depth == 3 && kind == "{" && top == "accounts" && key == "id") print "account", v
    }
    function flush() { if (word != "") { value(word); word = "" } }
    { text = text $0 "\n" }
    END {
      n = length(text)
      for (i = 1; i <= n && !broken; i++) {
        c = substr(text, i, 1)
        if (instring) {
          if (c == "\\") { s = s c substr(text, ++i, 1) }
          else if (c == "\"") {
            instring = 0
            if (expectkey) {
              key = s; expectkey = 0; expectcolon = 1
              if (depth == 1) top = s
            } else value("\"" s "\"")
          }
          else if (c == "\n") broken = 1
          else s = s c
          continue
        }
        if (c ~ /[ \t\r\n]/) flush()
        else if (done || (expectcolon && c != ":")) broken = 1
        else if (c == "\"") { instring = 1; s = "" }
        else if (c == "{" || c == "[") {
          path = path c; kind = c; depth++; expectkey = (c == "{"); key = ""; seen = 1
        }
        else if (c == "}" || c == "]") {
          flush()
          if (kind != (c == "}" ? "{" : "[")) broken = 1
          path = substr(path, 1, --depth); kind = substr(path, depth, 1); expectkey = 0
          if (depth == 0) done = 1
        }
        else if (c == ",") { flush(); expectkey = (kind == "{") }
        else if (c == ":") expectcolon = 0
        else { if (!seen) broken = 1; word = word c }
      }
      if (seen && done && !broken && !instring) print "complete"
    }
  ' <<BODY
$body
BODY
}

add() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a + b }'; }
left() { awk -v a="$timeout" -v b="$1" 'BEGIN { d = a - b; printf "%.3f", (d > 0.001 ? d : 0.001) }'; }

# has LINE reports whether facts found that line.
has() { printf '%s\n' "$found" | grep -q "^$1\$"; }

# again PATH fetches in what is left of the probe's time.
again() {
  endpoint=$1
  fetch "$1" "$(left "$spent")"
  spent=$(add "$spent" "$took")
}

# Each probe prints one line: name, status, seconds, path, failure, remark.
line() { printf '%s|%s|%s|%s|%s|%s\n' "$1" "$status" "$spent" "$endpoint" "${failure:-passed}" "$2"; }

rails_health() {
  spent=0
  again "$health_path"
  if [ "$status$failure" = 404http_status ] && [ "$health_path" != /health ]; then again /health; fi
  if [ "$status$failure" = 404http_status ] || [ -z "$failure" ]; then
    answered=$endpoint
    [ "$status" = 200 ] || answered=/api
    again /api
    [ -n "$failure" ] || endpoint=$answered
  fi
  remark=''
  if [ -z "$failure" ]; then
    found=$(facts)
    # Only plain texts go on, because they end up in the output and the evidence.
    version=$(printf '%s\n' "$found" | sed -n 's/^version "\([A-Za-z0-9._-]*\)"$/Chatwoot \1/p')
    if ! has complete || ! has 'queue_services ".*"' || ! has 'data_services ".*"'; then
      failure=not_json
    elif ailing=$(printf '%s\n' "$found" | grep '_services ' | grep -v ' "ok"$'); then
      failure=dependency
      remark=$(printf '%s\n' "$ailing" | tr -cd 'A-Za-z0-9._ \n-' | tr '\n' ' ' | sed 's/ *$//')
    else
      remark=$version
    fi
  fi
  line rails_health "$remark"
}

authenticated_api() {
  spent=0
  endpoint=/api/v1/profile
  fetch "$endpoint" "$timeout" "header = \"Api-Access-Token: $token\""
  spent=$took
  remark=''
  if [ "$status$failure" = 401http_status ]; then
    case $body in
      *'"errors"'*) remark='missing header' ;;
      *'"Invalid Access Token"'*) remark='unknown token' ;;
    esac
  fi
  if [ -z "$failure" ]; then
    found=$(facts)
    if ! has complete; then
      failure=not_json
    elif ! has "account $account"; then
      failure=account
    fi
  fi
  line authenticated_api "$remark"
}

stamp=$(date -u +%Y%m%dT%H%M%S.%3NZ)
case $stamp in
  *.[0-9][0-9][0-9]Z) ;;
  *) stamp=$(date -u +%Y%m%dT%H%M%S.000Z) ;; # not every date knows %N
esac
results=$(
  authenticated_api &
  rails_health
  wait
)

# explain PROBE STATUS SECONDS FAILURE REMARK sets error and advice.
explain() {
  case $4 in
    timeout)
      error="Connection timeout after $(awk -v s="$timeout" 'BEGIN { printf "%d", s * 1000 }')ms"
      advice='Check the network, the Chatwoot service status and firewall rules.' ;;
    dns)
      error='Host name not found'
      advice="Check the host name in CHATWOOT_BASE_URL, and this machine's DNS." ;;
    connection)
      error='Connection failed'
      advice='Check that Chatwoot or its proxy is running at CHATWOOT_BASE_URL, and the firewall between.' ;;
    tls)
      error='No secure connection'
      advice="Check the server's certificate and whether CHATWOOT_BASE_URL should say https." ;;
    redirect)
      error="Failed with HTTP $2, a redirect"
      advice='Set CHATWOOT_BASE_URL to the final address, https included.' ;;
    not_json)
      error="HTTP $2, but the answer is not Chatwoot's JSON"
      advice="A login page or proxy answered in Chatwoot's place. Check CHATWOOT_BASE_URL: the address only, without /app." ;;
    dependency)
      error="Chatwoot reports $5"
      advice="Check Postgres (data_services), Redis (queue_services) and Chatwoot's logs." ;;
    account)
      error="The account is not among the token's accounts"
      advice="Set CHATWOOT_ACCOUNT_ID to the number after /app/accounts/ in the browser, or invite the token's user." ;;
    http_status)
      error="Failed with HTTP $2"
      case $1$2$5 in
        *429*) advice='Chatwoot is throttling this address. Wait a minute.' ;;
        authenticated_api401missing*) advice='The token did not reach Chatwoot. Let the proxy pass the Api-Access-Token header.' ;;
        authenticated_api401*) advice='Token expired or invalid. Rotate CHATWOOT_TOKEN in the secrets manager.' ;;
        *5[0-9][0-9]*) advice="Check Chatwoot's processes and logs, then its proxy. During maintenance a 503 is expected." ;;
        *) advice="Check CHATWOOT_BASE_URL: the address only, without /app. Then Chatwoot's logs." ;;
      esac ;;
    *)
      error='No usable answer'
      advice="Run the check again. If it stays, look at Chatwoot's logs for the same time." ;;
  esac
}

# report PROBE TITLE tells of one probe, and adds it to the evidence.
report() {
  found=$(printf '%s\n' "$results" | grep "^$1|")
  [ -n "$found" ] || found="$1|000|0|-|other|"
  IFS='|' read -r status spent endpoint failure remark <<RESULT
${found#*|}
RESULT
  ms=$(awk -v s="$spent" 'BEGIN { printf "%.0f", s * 1000 }')
  http=$status
  answered="HTTP $status"
  if [ "$status" = 000 ]; then
    http=null
    answered='no answer'
  fi
  error='' advice='' reason='' success=true mark='✓'
  if [ "$failure" != passed ]; then
    explain "$1" "$status" "$spent" "$failure" "$remark"
    success=false mark='✗' reason=$failure
  fi
  printf '%s %s  %s  %s ms  %s%s\n' "$mark" "$2" "$answered" "$ms" "$endpoint" "${remark:+  $remark}"
  [ -z "$error" ] || printf '    %s: %s\n    What to do: %s\n' "$2" "$error" "$advice"
  probes="$probes${probes:+,}
    {\"probe\": \"$1\", \"title\": \"$2\", \"informational\": false, \"success\": $success, \"response_time_ms\": $ms, \"http_status\": $http, \"endpoint\": \"$endpoint\", \"detail\": \"$remark\", \"reason\": \"$reason\", \"error\": \"$error\", \"advice\": \"$advice\"}"
  [ "$success" = true ]
}

echo "Chatwoot health check of $host, $stamp"
echo
probes=''
rails=passed
report rails_health 'Platform Health' || rails=failed
api=passed
report authenticated_api 'Authenticated API' || api=failed
case $rails$api in
  passedpassed) code=0 meaning='All checks passed' action='No action needed' ;;
  failedpassed) code=2 meaning='Rails health check failed' action='Check the Chatwoot service' ;;
  passedfailed) code=3 meaning='Authenticated API failed' action='Check the API token and its permissions' ;;
  *) code=4 meaning='All checks failed' action='Escalate to on-call immediately' ;;
esac
echo
echo "Exit code $code: $meaning. $action."

# 20261123T221854.123Z as 2026-11-23T22:18:54.123Z.
started=$(printf '%s\n' "$stamp" | sed 's/^\(....\)\(..\)\(..\)T\(..\)\(..\)/\1-\2-\3T\4:\5:/')
folder=$artifacts/ops/chatwoot-health
document="{
  \"schema\": \"chatwoot-sla/health-check/v1\",
  \"started_at\": \"$started\",
  \"base_url_host\": \"$host\",
  \"exit_code\": $code,
  \"meaning\": \"$meaning\",
  \"action\": \"$action\",
  \"probes\": [$probes
  ]
}"

# write_evidence follows the protocol of chatwoot-sla: hold the hidden name,
# rename to a free one. -C makes > fail when the file exists.
write_evidence() {
  mkdir -p "$folder" && [ -w "$folder" ] || return 1
  seconds=${stamp%.*}
  ms=${stamp#*.}
  ms=${ms%Z}
  ms=${ms#0}
  ms=${ms#0}
  while [ "$ms" -lt 1000 ]; do
    name=health-check-$seconds.$(printf '%03d' "$ms")Z.json
    ms=$((ms + 1))
    tmp=$folder/.$name.tmp
    (set -C && : >"$tmp") 2>/dev/null || continue
    if [ ! -e "$folder/$name" ] && printf '%s\n' "$document" >"$tmp" && mv "$tmp" "$folder/$name"; then
      return 0
    fi
    rm -f "$tmp"
    [ -e "$folder/$name" ] || return 1
  done
  return 1
}
write_evidence 2>/dev/null ||
  echo "No evidence was written to $folder: free some space there, make it writable, or set ARTIFACTS_DIR." >&2

exit "$code"
