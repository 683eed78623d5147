# A registry of our own, real and on the loopback, for the tests that pull from one or push to it.
#
#	start_registry [--tls] [--auth] [--data DIR] NAME
#
# starts docker-registry on a free port and sets the variable NAME to HOST:PORT. Its log of accesses
# is $BATS_FILE_TMPDIR/NAME/log. With --tls its certificate is signed by an authority made for it,
# $BATS_FILE_TMPDIR/NAME/ca.crt; with --auth it wants the login $LOGIN. Registries that share --data
# have the same images. stop_registries ends all of this file.
# shellcheck shell=bash

# Letters that need care in JSON, base64 and shells.
export LOGIN='emily:s3cret/+>? pass'

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# An authority and a certificate of it for 127.0.0.1.
make_certificate() {
	local dir=$1

	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=test authority" \
			-addext basicConstraints=critical,CA:TRUE -keyout "$dir/ca.key" -out "$dir/ca.crt"
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 \
			-keyout "$dir/server.key" -out "$dir/server.csr"
		openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
			-extfile <(echo subjectAltName=IP:127.0.0.1) -out "$dir/server.crt"
	} 2>"$dir/openssl.log"
}

# listens PID PORT: whether it is this process, and not another one that answers there.
listens() {
	local inode

	inode=$(awk -v "at=0100007F:$(printf %04X "$2")" '$2 == at && $4 == "0A" { print $10 }' /proc/net/tcp)
	[ -n "$inode" ] && [[ $(readlink "/proc/$1/fd/"*) == *"socket:[$inode]"* ]]
}

# serve DIR: whether a registry with what DIR says came up on $port; another process may take the port before it does.
serve() {
	local dir=$1 pid try

	port=$(free_port)
	sed "s/@PORT@/$port/" "$dir/config.in" >"$dir/config.yml"
	docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 3>&- &
	pid=$!
	echo "$pid" >"$dir/registry.pid"
	for ((try = 0; try < 200; try++)); do
		! listens "$pid" "$port" || return 0
		[ -d "/proc/$pid" ] || break
		sleep 0.1
	done
	kill "$pid" 2>/dev/null || true
	return 1
}

start_registry() {
	local tls='' auth='' data='' dir port

	while [[ $1 == --* ]]; do
		case $1 in
		--tls) tls=yes ;;
		--auth) auth=yes ;;
		--data) data=$2; shift ;;
		esac
		shift
	done
	dir=$BATS_FILE_TMPDIR/$1
	mkdir -p "$dir"
	cat >"$dir/config.in" <<-CONFIG
		version: 0.1
		log: {level: error, accesslog: {disabled: false}}
		storage:
		  filesystem: {rootdirectory: ${data:-$dir/data}}
		  delete: {enabled: true}
		http:
		  addr: "127.0.0.1:@PORT@"
		  secret: unused
	CONFIG
	if [ -n "$tls" ]; then
		make_certificate "$dir"
		echo "  tls: {certificate: $dir/server.crt, key: $dir/server.key}" >>"$dir/config.in"
	fi
	if [ -n "$auth" ]; then
		htpasswd -Bbn "${LOGIN%%:*}" "${LOGIN#*:}" >"$dir/htpasswd"
		echo "auth: {htpasswd: {realm: ember, path: $dir/htpasswd}}" >>"$dir/config.in"
	fi
	serve "$dir" || serve "$dir" || serve "$dir"
	export "$1=127.0.0.1:$port"
}

stop_registries() {
	local pid

	for pid in "$BATS_FILE_TMPDIR"/*/registry.pid; do
		[ ! -e "$pid" ] || kill "$(cat "$pid")" || true
	done
}

# fill_registry REGISTRY LAYOUT:TAG NAME:TAG: by skopeo, so that what is tested is not what fills.
fill_registry() {
	skopeo copy --quiet --dest-tls-verify=false "oci:$2" "docker://$1/$3" 3>&-
}

# blobs_fetched NAME: how many blobs were asked for so far.
blobs_fetched() {
	grep -c '"GET /v2/[^ ]*/blobs/' "$BATS_FILE_TMPDIR/$1/log" || true
}
