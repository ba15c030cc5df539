#!/usr/bin/env bash
# Starts and stops a Flink cluster on loopback for pipelines of Apache Beam, with a pool of Python workers.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/flink_cluster.sh start [flink|prism]   start what is not running, and print the options for
                                               `dlr build --beam-pipeline-options` and `--beam` elsewhere
scripts/flink_cluster.sh stop                  stop all
scripts/flink_cluster.sh status                tell what runs, and its process
scripts/flink_cluster.sh task-manager NUMBER   start one task manager, such as one that died

flink: a job manager, task managers, Beam's job server, and a pool of Python workers. Needs Java 11
  or 17, Maven for the job server, and pip for Flink.
prism: Beam's own portable runner, one process in place of Flink's, and the pool. Needs Go.

Status 3: something that is needed cannot be had here.
Variables, and what they are without being set:
  TASK_MANAGERS (2)  SLOTS (1 a task manager)
  FLINK_PORT (8081)  JOB_PORT (8099)  ARTIFACT_PORT (8098)  POOL_PORT (50000)
  BEAM_FLINK_JOB_SERVER: path of another job server, one jar, in place of the one that Maven has
  PRISM: path of Prism, where Go is not to install it
  CLUSTER_FOLDER: where logs, settings and process ids are kept (`cluster` in the cache folder)
Maven, pip and Go find packages as their own settings say.
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly PYTHON=$here/.venv/bin/python
readonly FLINK=1.19.3
readonly FLINK_SHA256=4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60
readonly JOB_SERVER=2.62.0
readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dlr-vla
readonly FOLDER=${CLUSTER_FOLDER:-$CACHE/cluster}
readonly HOST=127.0.0.1
readonly TASK_MANAGERS=${TASK_MANAGERS:-2} SLOTS=${SLOTS:-1}
readonly FLINK_PORT=${FLINK_PORT:-8081} JOB_PORT=${JOB_PORT:-8099} ARTIFACT_PORT=${ARTIFACT_PORT:-8098}
readonly POOL_PORT=${POOL_PORT:-50000}
readonly PATIENCE_S=120
# What Flink does by reflection, which Java 17 forbids unless it is told.
readonly OPENED=(java.base/java.lang java.base/java.lang.invoke java.base/java.net java.base/java.nio
  java.base/java.text java.base/java.time java.base/java.util java.base/java.util.concurrent
  java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks java.base/sun.net.util)

say() { printf 'cluster: %s\n' "$*"; }
fail() { printf 'cluster: %s\n' "$@" >&2; exit 1; }
# What is missing cannot be had here: status 3.
lack() { printf 'cluster: %s\n' "$@" >&2; exit 3; }

beam_version() { "$PYTHON" -c 'from importlib.metadata import version; print(version("apache-beam"))'; }

# A process is known by its id and its start, since ids are used again.
started_at() { cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null; }

process_of() {
  local id start
  [ -f "$FOLDER/$1.pid" ] && read -r id start <"$FOLDER/$1.pid" && [ "$(started_at "$id")" = "$start" ] && echo "$id"
}

# Runs a command in the background under a name, unless it runs already.
launch() {
  local name=$1
  shift
  if process_of "$name" >/dev/null; then return; fi
  setsid nohup "$@" >"$FOLDER/$name.log" 2>&1 </dev/null &
  echo "$! $(started_at $!)" >"$FOLDER/$name.pid"
}

await_port() {
  local name=$1 port=$2 deadline=$((SECONDS + PATIENCE_S))
  until (exec 3<>"/dev/tcp/$HOST/$port") 2>/dev/null; do
    process_of "$name" >/dev/null || fail "$name ended; its last words ($FOLDER/$name.log):" "$(tail -n 5 "$FOLDER/$name.log")"
    [ $SECONDS -lt $deadline ] || fail "$name does not answer on port $port; see $FOLDER/$name.log"
    sleep 0.5
  done
}

halt() {
  local name=$1 id
  id=$(process_of "$name") || { rm -f "$FOLDER/$name.pid"; return 0; }
  kill "$id"
  for _ in $(seq 40); do
    process_of "$name" >/dev/null || break
    sleep 0.25
  done
  if process_of "$name" >/dev/null; then kill -9 "$id"; fi
  rm -f "$FOLDER/$name.pid"
  say "stopped $name"
}

# Flink's jars, from its Python package.
get_flink() {
  flink=$CACHE/flink-$FLINK
  if [ ! -d "$flink" ]; then
    say "getting Flink $FLINK"
    local new
    new=$(mktemp -d "$CACHE/flink.XXXXXX")
    echo "apache-flink-libraries==$FLINK --hash=sha256:$FLINK_SHA256" >"$new/requirement"
    local with_pip=$PYTHON  # uv makes environments without it
    "$with_pip" -m pip --version >/dev/null 2>&1 || with_pip=python3
    "$with_pip" -m pip --disable-pip-version-check download --quiet --no-deps --require-hashes \
      --dest "$new" --requirement "$new/requirement" \
      || lack "pip could not get apache-flink-libraries $FLINK, or its checksum is not the one expected"
    tar -xzf "$new"/apache?flink?libraries-*.tar.gz -C "$new" --strip-components=1
    mkdir "$new/flink" && cp "$new"/deps/lib/*.jar "$new/flink"
    (cd "$new/flink" && sha256sum ./*.jar >SHA256SUMS)
    mv -T "$new/flink" "$flink" || true
    rm -rf "$new"
  fi
  (cd "$flink" && sha256sum --check --quiet --strict SHA256SUMS) \
    || fail "$flink is damaged: delete it, and run this again"
}

# Beam's job server: the runner for Flink and all that it depends on, as single jars. The server in one jar is not
# in every mirror of Maven Central. It need not be of the Python SDK's version.
get_job_server() {
  local folder=$CACHE/beam-$JOB_SERVER-flink-${FLINK%.*} new
  if [ -n "${BEAM_FLINK_JOB_SERVER:-}" ]; then
    [ -f "$BEAM_FLINK_JOB_SERVER" ] || fail "BEAM_FLINK_JOB_SERVER=$BEAM_FLINK_JOB_SERVER is no file"
    job_server=$BEAM_FLINK_JOB_SERVER
    return
  fi
  if [ ! -d "$folder" ]; then
    command -v mvn >/dev/null || lack "Maven gets Beam's job server: install it, or name a jar in BEAM_FLINK_JOB_SERVER"
    say "getting Beam's job server $JOB_SERVER, 160 jars of 150 MB"
    new=$(mktemp -d "$CACHE/beam.XXXXXX")
    write_dependency "beam-runners-flink-${FLINK%.*}" "$JOB_SERVER" >"$new/pom.xml"
    mvn -B -q -C -f "$new/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$new/jars" >"$FOLDER/maven.log" 2>&1 || lack \
      "the Maven repositories that are set up here lack a part of Beam's job server ($FOLDER/maven.log)." \
      "Name a jar in BEAM_FLINK_JOB_SERVER, or run \`scripts/flink_cluster.sh start prism\`."
    (cd "$new/jars" && sha256sum ./*.jar >SHA256SUMS)
    mv -T "$new/jars" "$folder" || true
    rm -rf "$new"
  fi
  (cd "$folder" && sha256sum --check --quiet --strict SHA256SUMS) || fail "$folder is damaged: delete it, and run this again"
  # Flink's own jars first: they have the logger, and the job server's copies of Flink are of another patch.
  job_server=$flink/*:$folder/*
}

# The smallest project of Maven's that depends on an artifact of Beam's.
write_dependency() {
  cat <<TEXT
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>none</groupId><artifactId>none</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.beam</groupId><artifactId>$1</artifactId><version>$2</version></dependency>
  </dependencies>
</project>
TEXT
}

# Go compares the checksum of what it gets with its own database's.
get_prism() {
  local version
  prism=${PRISM:-}
  if [ -n "$prism" ]; then
    [ -x "$prism" ] || fail "PRISM=$prism is no program"
    return
  fi
  version=$(beam_version)
  prism=$CACHE/beam-$version/prism
  if [ ! -x "$prism" ]; then
    command -v go >/dev/null || lack "Go gets Prism: install it, or name the program in PRISM"
    say "building Prism $version, which takes minutes of a core"
    GOBIN=$CACHE/beam-$version go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$version" >"$FOLDER/go.log" 2>&1 \
      || lack "Go could not install Prism $version; see $FOLDER/go.log"
  fi
}

write_settings() {
  mkdir -p "$FOLDER/flink"
  cat >"$FOLDER/flink/config.yaml" <<TEXT
jobmanager:
  rpc: {address: $HOST, port: $((FLINK_PORT + 1))}
  bind-host: $HOST
rest: {address: $HOST, port: $FLINK_PORT, bind-address: $HOST}
taskmanager:
  host: $HOST
  bind-host: $HOST
  numberOfTaskSlots: $SLOTS
  cpu: {cores: 1.0}
  memory:
    task: {heap: {size: 192m}, off-heap: {size: 32m}}
    framework: {heap: {size: 128m}, off-heap: {size: 64m}}
    managed: {size: 128m}
    network: {min: 64m, max: 64m}
    jvm-metaspace: {size: 256m}
    jvm-overhead: {min: 192m, max: 192m}
restart-strategy:
  type: fixed-delay
  fixed-delay: {attempts: 10, delay: 2 s}
heartbeat: {interval: 2000, timeout: 15000}
io: {tmp: {dirs: $FOLDER/tmp}}
TEXT
  cat >"$FOLDER/flink/log4j.properties" <<'TEXT'
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %-5p %c{1} %m%n
TEXT
}

# Runs a class in the background under a name: its heap, the class path, the class and its arguments.
launch_java() {
  local name=$1 heap=$2 path=$3 opened=()
  shift 3
  for part in "${OPENED[@]}"; do opened+=("--add-opens=$part=ALL-UNNAMED"); done
  launch "$name" java "-Xmx$heap" -XX:+UseSerialGC "${opened[@]}" \
    "-Dlog4j.configurationFile=$FOLDER/flink/log4j.properties" -cp "$path" "$@"
}

flink_java() { launch_java "$1" "$2" "$flink/*" "$3" --configDir "$FOLDER/flink"; }

task_manager() { flink_java "task-manager-$1" 384m org.apache.flink.runtime.taskexecutor.TaskManagerRunner; }

start_flink() {
  command -v java >/dev/null || lack "no Java on PATH: Flink needs Java 11 or 17"
  get_flink
  get_job_server
  write_settings
  flink_java job-manager 512m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint
  await_port job-manager "$FLINK_PORT"
  for number in $(seq "$TASK_MANAGERS"); do task_manager "$number"; done
  launch_java job-server 512m "$job_server" org.apache.beam.runners.flink.FlinkJobServerDriver --flink-master "$HOST:$FLINK_PORT" \
    --job-host "$HOST" --job-port "$JOB_PORT" --artifact-port "$ARTIFACT_PORT" --expansion-port 0 \
    --artifacts-dir "$FOLDER/artifacts"
  await_port job-server "$JOB_PORT"
}

start_prism() {
  get_prism
  launch prism "$prism" --job_port "$JOB_PORT" --serve_http=false
  await_port prism "$JOB_PORT"
}

start() {
  local engine=$1 options
  [ -x "$PYTHON" ] || fail "no $PYTHON: run \`make setup\` first"
  mkdir -p "$CACHE" "$FOLDER/tmp"
  case $engine in
    flink | prism) ;;
    *) fail "there are flink and prism, not $engine" ;;
  esac
  "start_$engine"
  # Without its folder on the path, Python workers find this project as it is installed.
  PATH=$here/.venv/bin:$PATH launch pool "$PYTHON" -m common.workers.worker_pool --host "$HOST" --port "$POOL_PORT"
  await_port pool "$POOL_PORT"
  options="runner=PortableRunner,job_endpoint=$HOST:$JOB_PORT,environment_type=EXTERNAL,environment_config=$HOST:$POOL_PORT"
  if [ "$engine" = flink ]; then options="$options,parallelism=$((TASK_MANAGERS * SLOTS))"; fi
  say "running; Beam's options:"
  echo "$options"
}

names() { for file in "$FOLDER"/*.pid; do [ ! -f "$file" ] || basename "$file" .pid; done; }

status() {
  local name id
  for name in $(names); do
    if id=$(process_of "$name"); then say "$name: process $id, $FOLDER/$name.log"; else say "$name: ENDED, $FOLDER/$name.log"; fi
  done
  [ -n "$(names)" ] || say "nothing runs"
}

case ${1:-} in
  start) start "${2:-flink}" ;;
  stop) for name in $(names); do halt "$name"; done ;;
  status) status ;;
  task-manager)
    get_flink
    task_manager "${2:?number}"
    ;;
  *)
    usage
    exit 2
    ;;
esac
