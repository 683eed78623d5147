# Pulling from real registries: the blob cache that images share, moved tags, logins, certificates, and registries that stall
# or break.
load lib
load registry

setup_file() {
	new_state
	make_layouts
	start_registry PLAIN
	fill_registry "$PLAIN" "$LAYOUTS/one:latest" team/one:1
	fill_registry "$PLAIN" "$LAYOUTS/two:latest" team/two:1
	skopeo copy --quiet --all --dest-tls-verify=false "oci:$LAYOUTS/both:latest" "docker://$PLAIN/team/both:1" 3>&-
}

teardown_file() {
	stop_registries
	drop_state
}

teardown() {
	[ -z "${way_pid-}" ] || kill "$way_pid"
	assert_no_leftovers
}

# add_layer LAYOUT NAME KIB: a layer of its own, which does not compress.
add_layer() {
	local dir=$BATS_FILE_TMPDIR/layer-$2

	mkdir "$dir"
	head -c "$3K" /dev/urandom >"$dir/$2"
	tar -C "$dir" -cf "$dir.tar" "$2"
	umoci raw add-layer --image "$1:latest" "$dir.tar"
	umoci gc --layout "$1"
}

# `one` and `two` have busybox's layer and a big one in common; `both` is for several machines.
make_layouts() {
	export LAYOUTS=$BATS_FILE_TMPDIR/layouts
	mkdir "$LAYOUTS"
	cp -r "$OCI/busybox" "$LAYOUTS/one"
	add_layer "$LAYOUTS/one" shared 4096
	cp -r "$LAYOUTS/one" "$LAYOUTS/two"
	add_layer "$LAYOUTS/one" first 64
	add_layer "$LAYOUTS/two" second 64
	python3 - "$LAYOUTS/one" "$LAYOUTS/both" <<-'PYTHON'
		import hashlib, json, pathlib, shutil, sys
		source, target = map(pathlib.Path, sys.argv[1:])
		shutil.copytree(source, target)
		blobs = target / "blobs" / "sha256"
		load = lambda descriptor: json.loads((blobs / descriptor["digest"][7:]).read_bytes())
		def put(document, kind):
		    data = json.dumps(document).encode()
		    digest = hashlib.sha256(data).hexdigest()
		    (blobs / digest).write_bytes(data)
		    return {"mediaType": f"application/vnd.oci.image.{kind}.v1+json", "digest": "sha256:" + digest, "size": len(data)}
		index = json.loads((target / "index.json").read_bytes())
		manifest = load(index["manifests"][0])
		config = load(manifest["config"])
		entries = []
		for platform in {"architecture": "amd64"}, {"architecture": "arm64", "variant": "v8"}, {"architecture": "arm", "variant": "v7"}:
		    manifest["config"] = put(config | platform, "config")
		    entries.append(put(manifest, "manifest") | {"platform": {"os": "linux"} | platform})
		nested = put({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}, "index")
		nested["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
		(target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [nested]}))
	PYTHON
}

pull() {
	ember image pull "$@" --tls-verify=false
}

# way MODE REGISTRY BYTES: $way leads to the registry, and does not hold.
way() {
	local file=$BATS_TEST_TMPDIR/port

	rm -f "$file"
	"$CLI_DIR/unsteady" "$1" "$file" "${2##*:}" "$3" >"$BATS_TEST_TMPDIR/way.log" 2>&1 3>&- &
	way_pid=$!
	until_true 10 test -e "$file"
	way=127.0.0.1:$(cat "$file")
}

forget() {
	ember image delete "$@" >/dev/null
	ember image prune --blobs >/dev/null
}

inspected() {
	ember image inspect "$1" --format json | jq -r "$2"
}

@test "an image that shares layers fetches only the new ones" {
	local before

	expect 0 pull "$PLAIN/team/one:1" --name one
	before=$(blobs_fetched PLAIN)
	equal "$before" 4 # three layers and the config
	expect 0 pull "$PLAIN/team/two:1" --name two
	equal "$(($(blobs_fetched PLAIN) - before))" 2 # one layer and the config
	run e2fsck -fn "$(inspected two .disk_path)"
	[ "$status" -eq 0 ]
	run debugfs -R 'ls -p /' "$(inspected two .disk_path)"
	contains "$output" /shared/ /second/
	# Nothing of the cache is the image's own.
	ember image prune --blobs
	expect 0 ember vm create of-two --image two "${SMALL[@]}" --wait
	expect 0 ember exec of-two -- cmp /shared /shared
	ember vm delete --force of-two
	forget one two
}

@test "--refresh of a tag that has not moved fetches and writes nothing" {
	local before id

	pull "$PLAIN/team/one:1" --name one
	id=$(inspected one .id)
	ember image prune --blobs
	before=$(blobs_fetched PLAIN)
	expect 0 pull "$PLAIN/team/one:1" --name one --refresh
	contains "$output" "up to date"
	equal "$(blobs_fetched PLAIN)" "$before"
	equal "$(inspected one .id)" "$id"

	fill_registry "$PLAIN" "$LAYOUTS/one:latest" team/moving:1
	expect 0 pull "$PLAIN/team/moving:1" --name moving
	id=$(inspected moving .id)
	fill_registry "$PLAIN" "$LAYOUTS/two:latest" team/moving:1
	before=$(blobs_fetched PLAIN)
	expect 0 pull "$PLAIN/team/moving:1" --name moving --refresh
	contains "$output" "pulled successfully"
	[ "$(inspected moving .id)" != "$id" ]
	equal "$(($(blobs_fetched PLAIN) - before))" 2
	equal "$(inspected moving .digest)" "$(skopeo inspect --tls-verify=false "docker://$PLAIN/team/two:1" 3>&- | jq -r .Digest)"
	forget one moving
}

@test "an image for several machines: this one's, the one that was asked for, one that is not there" {
	local index variant

	expect 0 pull "$PLAIN/team/both:1" --name here
	equal "$(inspected here .arch)" "$(uname -m)"
	expect 0 pull "$PLAIN/team/both:1" --name here --refresh
	contains "$output" "up to date"
	expect 0 pull "$PLAIN/team/both:1" --name there --platform linux/arm64
	equal "$(inspected there .arch)" aarch64
	expect 0 pull "$PLAIN/team/both:1" --name there --platform linux/arm64 --refresh
	contains "$output" "up to date"
	for variant in arm64/v8:aarch64 arm/v7:arm; do
		expect 0 pull "$PLAIN/team/both:1" --name variant --platform "linux/${variant%:*}"
		equal "$(inspected variant .arch)" "${variant#*:}"
		expect 0 pull "$PLAIN/team/both:1" --name variant --platform "linux/${variant%:*}" --refresh
		contains "$output" "up to date"
		ember image delete variant
	done
	expect 2 pull "$PLAIN/team/both:1" --name variant --platform linux/arm/
	# Without a name the second machine's image gets one of its own.
	expect 4 pull "$PLAIN/team/both:1" --name here --platform linux/arm64
	explains "for $(uname -m)"
	expect 0 pull "$PLAIN/team/both:1"
	expect 0 pull "$PLAIN/team/both:1" --platform linux/arm64
	contains "$output" "-team-both-1-" "pulled successfully"
	expect 0 pull "$PLAIN/team/both:1" --platform linux/arm64
	contains "$output" "already exists"
	ember image list --format json | jq -r '.images[].local_name' | grep -- -team-both-1 | xargs "$EMBER" image delete
	index=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/team/both:1" 3>&- | sha256sum | cut -d ' ' -f 1)
	expect 0 pull "$PLAIN/team/both@sha256:$index" --name by-index
	equal "$(inspected by-index .digest)" "$(inspected here .digest)"
	expect 3 pull "$PLAIN/team/both:1" --name nowhere --platform linux/s390x
	explains platform
	forget here there by-index
}

# What a power cut or a bad disk may do to each blob of the cache.
@test "a damaged blob of the cache is fetched again" {
	local blob how count=0

	pull "$PLAIN/team/one:1" --name one
	for blob in "$EMBER_STATE_DIR"/blobs/sha256/*; do
		for how in empty flipped gone; do
			case $how in
			empty) : >"$blob" ;;
			flipped) printf '\377' | dd of="$blob" bs=1 seek=100 conv=notrunc status=none ;;
			gone) rm "$blob" ;;
			esac
			expect 0 pull "$PLAIN/team/one:1" --name "again-$((count += 1))"
			equal "$(inspected "again-$count" .digest)" "$(inspected one .digest)"
			equal "$(sha256sum <"$blob" | cut -d ' ' -f 1)" "$(basename "$blob")"
			ember image delete "again-$count"
		done
	done
	[ "$count" -eq 15 ]
	: >"$(find "$EMBER_STATE_DIR/blobs/sha256" -size +1M)"
	expect 0 pull "$PLAIN/team/one:1" --name again
	contains "$stderr" "warning: " "blob cache is damaged"
	forget one again
}

@test "two pulls at once into one cache; a prune waits for neither, and says so" {
	local one two

	pull "$PLAIN/team/one:1" --name one >"$BATS_TEST_TMPDIR/1" 2>&1 &
	one=$!
	pull "$PLAIN/team/two:1" --name two >"$BATS_TEST_TMPDIR/2" 2>&1 &
	two=$!
	wait "$one"
	wait "$two"
	run e2fsck -fn "$(inspected one .disk_path)"
	[ "$status" -eq 0 ]
	forget one two

	way stall "$PLAIN" 2000000
	pull "$way/team/one:1" --name one --timeout 6 >"$BATS_TEST_TMPDIR/1" 2>&1 &
	one=$!
	until_true 10 compgen -G "$EMBER_STATE_DIR/tmp/image:one/layout/image/oci-put-blob*"
	expect 4 ember image prune
	explains "busy"
	waited "$one"
	equal "$status" 8
	expect 0 ember image prune --blobs
}

@test "a registry that stalls: exit 8 in the time that was given, and nothing is left" {
	local began=$SECONDS

	way stall "$PLAIN" 2000000
	expect 8 pull "$way/team/one:1" --name one --timeout 2
	explains "stalls" "--timeout"
	[ $((SECONDS - began)) -lt 15 ]
	expect 3 ember image inspect one
	assert_no_processes
	# And one that accepts connections but never says a word.
	kill "$way_pid"
	way stall "$PLAIN" 0
	expect 8 pull "$way/team/one:1" --name one --timeout 1
	explains "stalls"
	ember image prune --blobs
}

@test "an interrupted pull: exit 130, and nothing is left" {
	local puller

	way stall "$PLAIN" 2000000
	env --default-signal=INT "$EMBER" image pull "$way/team/one:1" --tls-verify=false --name one >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	puller=$!
	until_true 10 compgen -G "$EMBER_STATE_DIR/tmp/image:one/layout/image/oci-put-blob*"
	kill -INT "$puller"
	waited "$puller"
	equal "$status" 130
	assert_no_processes
	assert_no_leftovers
	ember image prune --blobs
}

@test "docker's own manifests: converted the same each time, so that an unmoved tag is seen" {
	local id before

	skopeo copy --quiet --format v2s2 --dest-tls-verify=false "oci:$LAYOUTS/one:latest" "docker://$PLAIN/team/docker:1" 3>&-
	contains "$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/team/docker:1" 3>&-)" distribution.manifest.v2
	expect 0 pull "$PLAIN/team/docker:1" --name docker
	id=$(inspected docker .id)
	before=$(blobs_fetched PLAIN)
	expect 0 pull "$PLAIN/team/docker:1" --name docker --refresh
	contains "$output" "up to date"
	equal "$(inspected docker .id)" "$id"
	[ $(($(blobs_fetched PLAIN) - before)) -le 1 ] # the config, of which the conversion is made
	forget docker
}

@test "a connection that breaks in a blob: tried once more, then told" {
	way breaks-once "$PLAIN" 2000000
	expect 0 pull "$way/team/one:1" --name one
	forget one
	kill "$way_pid"
	way reset "$PLAIN" 2000000
	expect 1 pull "$way/team/one:1" --name one
	explains "connection" "broke"
	expect 3 ember image inspect one
	ember image prune --blobs
}

@test "a killed pull leaves nothing that reconcile does not remove" {
	local source archive=$BATS_TEST_TMPDIR/archive feeder

	mkdir "$BATS_TEST_TMPDIR/var"
	way stall "$PLAIN" 2000000
	# An archive that does not end: skopeo unpacks it while it comes.
	mkfifo "$archive"
	tar -cf "$archive.tar" -C "$LAYOUTS/one" .
	(head -c 3000000 "$archive.tar" && exec sleep 30) >"$archive" 3>&- &
	feeder=$!
	has_unpacked() { find "$EMBER_STATE_DIR/tmp/image:killed/layout" -type f -size +10k | grep -q /oci; }
	for source in "$way/team/one:1" "oci-archive:$archive:latest"; do
		"$EMBER" image pull "$source" --tls-verify=false --name killed >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
		pid=$!
		until_true 10 has_unpacked
		kill -9 "$pid"
		waited "$pid"
		until_true 5 assert_no_processes
		ember reconcile >/dev/null
		assert_no_leftovers
	done
	kill "$feeder"
	run find /var/tmp /tmp -maxdepth 1 -newer "$BATS_TEST_TMPDIR/var" -name 'oci[0-9]*'
	equal "$output" ""
	ember image prune --blobs
}

@test "what is not there, and who is not there" {
	expect 3 pull "$PLAIN/team/one:2"
	explains "no such image" "skopeo list-tags"
	expect 3 pull "$PLAIN/team/nosuch:1"
	explains "no such image"
	expect 1 pull 127.0.0.1:1/team/one:1
	explains "refuses connections"
	expect 1 pull nosuch.invalid/team/one:1
	explains "nosuch.invalid"
	expect 1 ember image pull "$PLAIN/team/one:1"
	explains "plain HTTP" "--tls-verify=false"
}

@test "a terminal sees bytes, percentage and rate; a pipe sees nothing" {
	ember image prune --blobs
	way slow "$PLAIN" 0
	run script -qec "stty columns 120; '$EMBER' image pull '$way/team/one:1' --tls-verify=false --name seen" /dev/null
	[ "$status" -eq 0 ]
	grep -qE 'fetch [^ ]*/team/one:1  \[#*-*\] +[0-9]+%  [0-9.]+ [KM]iB of 5(\.[0-9])? MiB  [0-9.]+ [KM]iB/s  [0-9.]+ s' <<<"$output"
	# What stays is what came, how fast, and how long it took.
	grep -qE '/team/one:1  5(\.[0-9])? MiB  [0-9.]+ [KM]iB/s  [0-9.]+ s' <<<"$output"
	forget seen
	expect 0 pull "$way/team/one:1" --name unseen
	equal "$stderr" ""
	forget unseen
}

@test "a push and an import show bytes and rate on a terminal, and nothing in a pipe" {
	local bytes='[0-9.]+ [KM]iB' rate='[0-9.]+ [KM]iB/s  [0-9.]+ s' archive=$BATS_TEST_TMPDIR/one.tar

	pull "$PLAIN/team/one:1" --name one
	way slow "$PLAIN" 0
	run script -qec "stty columns 120; '$EMBER' image push one '$way/pushed/one:1' --tls-verify=false" /dev/null
	[ "$status" -eq 0 ]
	grep -qE "push 'one' to [^ ]*/one:1  \[#*-*\] +[0-9]+%  $bytes of 5(\.[0-9])? MiB  $rate" <<<"$output"
	grep -qE "/pushed/one:1  5(\.[0-9])? MiB  $rate" <<<"$output"
	expect 0 ember image push one "$way/pushed/one:2" --tls-verify=false
	equal "$stderr" ""
	ember image export one "$archive"
	run script -qec "stty columns 120; { head -c 2M; sleep 1.5; cat; } <'$archive' | '$EMBER' image import seen -" /dev/null
	[ "$status" -eq 0 ]
	grep -qE "read [^[]*  $bytes  $rate" <<<"$output"
	grep -qE "read standard input  5 MiB  $rate" <<<"$output"
	# A root filesystem is written while it comes.
	run script -qec "stty columns 120; { head -c 2M; sleep 1.5; cat; } <'$BATS_FILE_TMPDIR/layer-shared.tar' | '$EMBER' image import bare -" /dev/null
	[ "$status" -eq 0 ]
	grep -qE "write image 'bare'  $bytes  $rate" <<<"$output"
	# shellcheck disable=SC2002 # it shall be a pipe
	cat "$archive" | expect 0 ember image import unseen -
	equal "$stderr" ""
	forget one seen bare unseen
}

@test "several references at once, and one failure among them" {
	expect 3 pull "$PLAIN/team/one:1" "$PLAIN/team/nosuch:1" "$PLAIN/team/two:1"
	equal "$(grep -c 'pulled successfully' <<<"$output")" 2
	contains "$stderr" nosuch
	expect 2 pull "$PLAIN/team/one:1" "$PLAIN/team/two:1" --name x
	explains "--name"
	forget "${PLAIN/:/-}-team-one-1" "${PLAIN/:/-}-team-two-1"
}

@test "TLS: an unknown authority is refused with the way out; a known one is taken" {
	local ca=$BATS_FILE_TMPDIR/SECURE/ca.crt

	start_registry --tls --data "$BATS_FILE_TMPDIR/PLAIN/data" SECURE
	expect 1 ember image pull "$SECURE/team/one:1"
	explains "nobody here vouches for" "certs.d/$SECURE/ca.crt" "--tls-verify=false"
	expect 0 ember image pull "$SECURE/team/one:1" --tls-verify=false --name insecure
	expect 0 env SSL_CERT_FILE="$ca" "$EMBER" image pull "$SECURE/team/one:1" --name by-file
	mkdir -p "$BATS_TEST_TMPDIR/.config/containers/certs.d/$SECURE"
	cp "$ca" "$BATS_TEST_TMPDIR/.config/containers/certs.d/$SECURE/"
	expect 0 env HOME="$BATS_TEST_TMPDIR" "$EMBER" image pull "$SECURE/team/one:1" --name by-directory
	equal "$(inspected by-directory .digest)" "$(inspected insecure .digest)"
	expect 1 ember image push insecure "$SECURE/pushed/one:1"
	explains "nobody here vouches for" "certs.d/$SECURE/ca.crt"
	expect 0 env SSL_CERT_FILE="$ca" "$EMBER" image push insecure "$SECURE/pushed/one:1"
	expect 0 env HOME="$BATS_TEST_TMPDIR" "$EMBER" image push by-directory "$SECURE/pushed/one:2"
	expect 0 env SSL_CERT_FILE="$ca" "$EMBER" image pull "$SECURE/pushed/one:2" --name pushed
	equal "$(inspected pushed .digest)" "$(inspected insecure .digest)"
	forget insecure by-file by-directory pushed
}

@test "a login: wanted, wrong, right, and in nobody else's sight" {
	local ca=$BATS_FILE_TMPDIR/LOCKED/ca.crt password=${LOGIN#*:} encoded formats

	start_registry --tls --auth --data "$BATS_FILE_TMPDIR/PLAIN/data" LOCKED
	export SSL_CERT_FILE=$ca
	expect 5 ember image pull "$LOCKED/team/one:1"
	explains "login" "skopeo login $LOCKED"
	for formats in table json; do
		run ember image pull "$LOCKED/team/one:1" --creds emily:wr0ng --format "$formats"
		equal "$status" 5
		[[ $output != *wr0ng* && $output != *ZW1pbHk6* ]]
	done
	expect 0 ember image pull "$LOCKED/team/one:1" --creds "$LOGIN" --name let-in
	expect 0 env EMBER_CREDS="$LOGIN" "$EMBER" image pull "$LOCKED/team/two:1" --name by-environment
	expect 5 ember image push let-in "$LOCKED/pushed/one:1"
	explains "skopeo login $LOCKED"
	expect 0 ember image push let-in "$LOCKED/pushed/one:1" --creds "$LOGIN"
	expect 2 ember image pull "$LOCKED/team/one:1" --creds s3cret
	explains "USER:PASSWORD"
	[[ $stderr != *s3cret* ]]

	ember image prune --blobs
	encoded=$(printf %s "$LOGIN" | base64 -w 0)
	way stall "$LOCKED" 2000000
	EMBER_CREDS=$LOGIN "$EMBER" image pull "$way/team/one:1" --name slow >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	until_true 10 compgen -G "$EMBER_STATE_DIR/tmp/image:slow/layout/image/oci-put-blob*"
	run grep -zF -e "$password" -e "$encoded" <(processes | xargs -I '{}' cat '/proc/{}/cmdline')
	equal "$output" ""
	kill -9 "$pid"
	waited "$pid"
	run grep -rlF -e "$password" -e "$encoded" "$EMBER_STATE_DIR"/{tmp,images,locks,config.json}
	equal "$output" ""
	until_true 5 assert_no_processes
	ember reconcile >/dev/null
	forget let-in by-environment
}

@test "an archive is named after the reference in it, else after its file" {
	local dir=$BATS_TEST_TMPDIR

	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$dir/saved.tar:tools/box:2" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$dir/unnamed.tar" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$dir/full.tar:tools/box:3" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$dir/tagged.tar:4" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$dir/plain.tar:proj1" 3>&-
	cp "$dir/saved.tar" "$dir/copy.tar"
	expect 0 ember image pull "docker-archive:$dir/saved.tar"
	contains "$output" "'tools-box-2'"
	expect 0 ember image pull "docker-archive:$dir/copy.tar" --format json
	json '.local_name | test("^tools-box-2-[0-9a-f]{6}$")'
	expect 0 ember image pull "docker-archive:$dir/saved.tar:tools/box:2" --name whole
	equal "$(inspected whole .digest)" "$(inspected tools-box-2 .digest)"
	expect 0 ember image pull "docker-archive:$dir/unnamed.tar"
	contains "$output" "'unnamed'"
	expect 0 ember image pull "oci-archive:$dir/full.tar"
	contains "$output" "'tools-box-3'"
	expect 0 ember image pull "oci-archive:$dir/tagged.tar"
	contains "$output" "'tagged'"
	expect 0 ember image pull "oci-archive:$dir/plain.tar"
	contains "$output" "'proj1'"
	expect 0 ember image pull "docker-archive:$dir/saved.tar" --refresh
	contains "$output" "up to date"
	ember image list --format json | jq -r '.images[].local_name' | grep -E 'tools|unnamed|tagged|proj1|whole' | xargs "$EMBER" image delete
}

@test "archives that are not what was asked for say so" {
	local dir=$BATS_TEST_TMPDIR

	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$dir/one.tar:here" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$dir/saved.tar:tools/box:2" 3>&-
	cp -r "$OCI/busybox" "$dir/several"
	jq '.manifests += [.manifests[0] | .annotations["org.opencontainers.image.ref.name"] = "other"]' \
		"$OCI/busybox/index.json" >"$dir/several/index.json"
	tar -C "$dir/several" -cf "$dir/several.tar" .
	head -c 3000 /dev/urandom >"$dir/rubbish.tar"
	head -c 100000 "$dir/one.tar" >"$dir/cut.tar"
	expect 2 ember image pull "oci-archive:$dir/several.tar"
	explains "several images" "several.tar:TAG"
	expect 3 ember image pull "oci-archive:$dir/one.tar:nosuch"
	explains "there is no image"
	expect 3 ember image pull "docker-archive:$dir/saved.tar:no/such:1"
	explains "there is no image"
	expect 2 ember image pull "docker-archive:$dir/one.tar"
	explains "not an archive of images"
	expect 2 ember image pull "oci-archive:$dir/rubbish.tar"
	explains "not an archive of images" "ember image import"
	expect 2 ember image pull "oci-archive:$dir/cut.tar"
	explains "cut short"
}

@test "a platform that is not there, and the one that is" {
	expect 3 ember image pull "oci:$LAYOUTS/one:latest" --platform linux/s390x
	explains "no image for linux/s390x" "--platform linux/"
}

@test "a refused connection is asked after in the way in which it was tried" {
	expect 1 ember image pull 127.0.0.1:1/x --tls-verify=false
	explains "curl -I http://127.0.0.1:1/v2/"
	expect 1 ember image pull 127.0.0.1:1/x
	explains "curl -I https://127.0.0.1:1/v2/"
}

@test "a user without XDG_RUNTIME_DIR pulls, although root's tools have shut /run/containers" {
	[ "$(id -u)" -eq 0 ] || skip "this is about becoming another user"
	local home=$EMBER_TEST_CACHE/fs/rootless-pull
	local as=(setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_RUNTIME_DIR -u REGISTRY_AUTH_FILE
		HOME="$home" EMBER_STATE_DIR="$home/state" EMBER_LIBEXEC_DIR="$home/programs" TMPDIR="$home"
		"$home/programs/ember")

	[ -d /run/containers ] || mkdir -m 700 /run/containers
	[ "$(stat -c %a /run/containers)" = 700 ] || skip "somebody has opened /run/containers"
	mkdir -p "$home/programs"
	cp "$EMBER_BUILD"/ember* "$home/programs/" 2>/dev/null || true
	chmod -R a+rX "$home"
	chown 65534:65534 "$home"
	expect 0 "${as[@]}" image pull "$PLAIN/team/one:1" --tls-verify=false --name unknown 3>&-
	start_registry --auth --data "$BATS_FILE_TMPDIR/PLAIN/data" SHUT
	expect 5 "${as[@]}" image pull "$SHUT/team/one:1" --tls-verify=false 3>&-
	explains "login"
	mkdir -p "$home/.config/containers"
	printf '{"auths":{"%s":{"auth":"%s"}}}' "$SHUT" "$(printf %s "$LOGIN" | base64 -w 0)" \
		>"$home/.config/containers/auth.json"
	expect 0 "${as[@]}" image pull "$SHUT/team/one:1" --tls-verify=false --name known 3>&-
	expect 0 "${as[@]}" deinit --purge 3>&-
	rm -rf "$home"
}

@test "one layout is one image, however its path is written" {
	local dir=$BATS_TEST_TMPDIR way

	cp -r "$OCI/busybox" "$dir/lay"
	ln -s lay/blobs "$dir/link"
	cd "$dir"
	expect 0 ember image pull oci:lay:latest
	for way in ./lay:latest .//lay/:latest "$dir/./lay/.:latest" link/../../lay:latest; do
		expect 0 ember image pull "oci:$way" --format json
		json '.local_name == "lay-latest"'
	done
	forget lay-latest
}

@test "what is in no registry is not asked for there" {
	expect 2 ember image pull http://127.0.0.1:1/x
	explains "leave out http://: 127.0.0.1:1/x"
	expect 2 ember image pull ./a.tar
	explains "is a path" "ember image import NAME ./a.tar"
	for reference in dir:lay docker-daemon:foo containers-storage:foo; do
		expect 2 ember image pull "$reference"
		explains "cannot be pulled" "oci-archive:FILE"
	done
}
