# Images from files: what they are shows in their contents.
load lib

setup_file() {
	export FILES=$BATS_FILE_TMPDIR/files

	new_state
	mkdir "$FILES"
	gzip -dc "$(find "$OCI/busybox/blobs/sha256" -size +100k)" >"$FILES/root.tar"
	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$FILES/oci.tar" 3>&-
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$FILES/docker.tar:tools/box:1" 3>&-
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

no_image() {
	ember image delete "$@" >/dev/null
}

# The names on its disk are those of the image that all of it was made of.
same_tree() {
	local one other

	one=$(ember image inspect "$1" --format json | jq -r .disk_path)
	other=$(ember image inspect busybox --format json | jq -r .disk_path)
	equal "$(names_on "$one")" "$(names_on "$other")"
}

names_on() {
	debugfs -R 'ls -p /bin' "$1" 2>/dev/null | cut -d / -f 3-6 | sort
	debugfs -R 'cat /etc/passwd' "$1" 2>/dev/null
}

@test "a tar of a root filesystem, whatever it is called and however it is compressed" {
	local program

	expect 0 ember image import plain "$FILES/root.tar"
	contains "$output" "Image 'plain' imported"
	same_tree plain
	no_image plain
	for program in gzip zstd xz bzip2 lz4; do
		"$program" -c <"$FILES/root.tar" >"$FILES/anything.iso"
		expect 0 ember image import packed "$FILES/anything.iso"
		same_tree packed
		no_image packed
	done
}

@test "from a pipe: a root filesystem, packed or not, and an archive" {
	local file

	xz -kf "$FILES/root.tar"
	zstd -qkf "$FILES/root.tar"
	for file in root.tar root.tar.xz root.tar.zst docker.tar; do
		# shellcheck disable=SC2002 # it shall be a pipe
		cat "$FILES/$file" | expect 0 ember image import piped -
		same_tree piped
		no_image piped
	done
	expect 0 ember image import piped - <"$FILES/oci.tar"
	same_tree piped
	no_image piped
}

@test "a pipe whose writer is slow to begin and to go on" {
	{ sleep 1; head -c 700; sleep 1; cat; } <"$FILES/root.tar" | expect 0 ember image import slow -
	same_tree slow
	no_image slow
}

@test "an OCI archive keeps its digest and its configuration; a VM boots from it" {
	expect 0 ember image import mine "$FILES/oci.tar" --format json
	json ".local_name == \"mine\" and .reference == \"local:mine\""
	equal "$(jq -r .digest <<<"$output")" "$(jq -r '.manifests[0].digest' "$OCI/busybox/index.json")"
	json '.config.env | index("FROM_IMAGE=yes") != null'
	boot from-archive mine
	expect 0 ember exec from-archive -- sh -c 'echo $FROM_IMAGE'
	equal "$output" yes
	ember vm delete --force from-archive
	no_image mine
}

@test "what docker save wrote, packed as well, in a directory with colons" {
	local dir=$FILES/a:b:c

	mkdir -p "$dir"
	gzip -c "$FILES/docker.tar" >"$dir/saved"
	cp "$FILES/docker.tar" "$dir/plain"
	expect 0 ember image import saved "$dir/saved" --format json
	json '.config.env | index("FROM_IMAGE=yes") != null'
	same_tree saved
	no_image saved
	expect 0 ember image import saved "$dir/plain" --tag tools/box:1
	no_image saved
}

@test "several images in an archive: refused with their names, unless one is chosen" {
	local layout=$FILES/two

	cp -r "$OCI/busybox" "$layout"
	skopeo copy --quiet "oci:$layout:latest" "oci:$layout:second" 3>&-
	# Another image, so that the choice can be seen.
	move_layout "$layout"
	tar -C "$layout" -cf "$FILES/two.tar" .
	expect 2 ember image import several "$FILES/two.tar"
	explains "2 images" "latest" "second" "--tag"
	expect 0 ember image import several "$FILES/two.tar" --tag second --format json
	equal "$(jq -r .digest <<<"$output")" \
		"$(jq -r '.manifests[] | select(.annotations[] == "second").digest' "$layout/index.json")"
	no_image several
	run --separate-stderr ember image import several "$FILES/two.tar" --tag third
	refused
	explains third
}

@test "a root filesystem has no configuration, unless one is given" {
	expect 0 ember image import bare "$FILES/root.tar" --format json
	json '.config.env == []'
	no_image bare
	echo '{"config":{"Env":["A=b"],"Entrypoint":["/bin/true"],"WorkingDir":"/tmp"}}' >"$FILES/config.json"
	expect 0 ember image import bare "$FILES/root.tar" --config "$FILES/config.json" --format json
	json '.config.env == ["A=b"] and .config.entrypoint == ["/bin/true"] and .config.workdir == "/tmp"'
	no_image bare
	expect 2 ember image import bare "$FILES/oci.tar" --config "$FILES/config.json"
	explains "--config"
	expect 2 ember image import bare "$FILES/root.tar" --tag x
	explains "--tag"
}

@test "what is no image: exit 2, and what it seems to be instead" {
	local file=$FILES/rubbish

	rubbish() {
		expect 2 ember image import rubbish "$file"
		explains "$1"
	}
	cp /bin/true "$file" && rubbish "a program (ELF)"
	echo "hello there" >"$file" && rubbish "text"
	: >"$file" && rubbish "empty"
	head -c 100000 /dev/urandom | sed 's/^/?/' >"$file" && rubbish "nothing that ember knows"
	printf 'PK\3\4....' >"$file" && rubbish "zip"
	echo "hello" | gzip >"$file" && rubbish "a gzip file with text in it"
	printf 'KDMV\1' >"$file" && rubbish "vmdk"
	rm "$file"
	truncate -s 40K "$file"
	printf 'CD001' | dd of="$file" bs=1 seek=32769 conv=notrunc status=none
	rubbish "ISO 9660"
	expect 3 ember image inspect rubbish
	expect 2 ember image import rubbish - </dev/null
	explains "device"
	expect 2 ember image import rubbish /dev/zero
	explains "device"
	expect 2 ember image import rubbish - < <(:)
	explains "empty"
	expect 2 ember image import rubbish "$FILES"
	explains "directory" "tar -C"
	expect 3 ember image import rubbish "$FILES/nosuch"
	expect 2 ember image import '../x' "$FILES/root.tar"
	expect 2 ember image import one
}

@test "an archive is one also when it is compressed, every time" {
	local packed

	for packed in gzip zstd xz; do
		"$packed" -c "$FILES/oci.tar" >"$FILES/oci.packed"
		for _ in 1 2 3; do
			expect 0 ember image import packed "$FILES/oci.packed" --format json
			json '.config.cmd == ["/bin/sh"]'
			ember image delete packed
		done
	done
	# What comes next shall not find its layers.
	ember image prune --blobs
}

@test "a file that is cut short or damaged leaves nothing" {
	local file=$FILES/cut

	for packed in gzip xz zstd bzip2 lz4; do
		"$packed" -c "$FILES/root.tar" | head -c 300000 >"$file"
		run --separate-stderr ember image import cut "$file"
		refused
		explains
		expect 3 ember image inspect cut
	done
	head -c 300000 "$FILES/root.tar" >"$file"
	run --separate-stderr ember image import cut "$file"
	refused
	head -c 500000 "$FILES/docker.tar" >"$file"
	run --separate-stderr ember image import cut "$file"
	refused
	head -c 500000 "$FILES/oci.tar" >"$file"
	run --separate-stderr ember image import cut "$file"
	refused
	cp "$FILES/oci.tar" "$file"
	printf damaged | dd of="$file" bs=1 seek=300000 conv=notrunc status=none
	# What is in the cache is not read from the file.
	ember image prune --blobs
	expect 1 ember image import cut "$file"
	explains "'$file'" "get it again"
	[[ $stderr != *local:cut* && $stderr != *"skopeo inspect"* && $stderr != */proc/* ]]
}

@test "a name that is taken: exit 4, and it stays what it was" {
	local before

	before=$(ember image inspect busybox --format json)
	expect 4 ember image import busybox "$FILES/root.tar"
	explains "already exists" "--replace"
	expect 4 ember image import busybox "$FILES/oci.tar"
	equal "$(ember image inspect busybox --format json)" "$before"
}

@test "--replace: the new image has the name, and the former one's VMs go on" {
	local id file

	ember image import other "$FILES/oci.tar"
	ember vm create of-other --image other "${SMALL[@]}" --no-start
	for file in root.tar docker.tar oci.tar; do
		id=$(ember image inspect other --format json | jq -r .id)
		expect 0 ember image import other "$FILES/$file" --replace
		[ "$(ember image inspect other --format json | jq -r .id)" != "$id" ]
	done
	# The same once more.
	expect 0 ember image import other "$FILES/oci.tar" --replace --format json
	json '.local_name == "other" and .reference == "local:other"'
	same_tree other
	expect 0 ember vm inspect of-other
	ember vm delete of-other
	no_image other
}

@test "two imports of one name at once: one wins" {
	local one=0 other=0

	ember image import race "$FILES/root.tar" 2>/dev/null & first=$!
	ember image import race "$FILES/oci.tar" 2>/dev/null || other=$?
	wait "$first" || one=$?
	[ "$one$other" = 04 ] || [ "$one$other" = 40 ]
	no_image race
}

@test "a file may say anything: a member that climbs out is refused" {
	gzip -dc "$(find "$OCI/dotdot/blobs/sha256" -size +0 -exec sh -c 'gzip -t "$1" 2>/dev/null' _ {} \; -print)" >"$FILES/evil.tar"
	run --separate-stderr ember image import evil "$FILES/evil.tar"
	refused
	explains ".."
}

@test "Ctrl-C while a pipe is read: 130, nothing left" {
	local pid fifo=$FILES/fifo

	mkfifo "$fifo"
	env --default-signal=INT "$EMBER" image import interrupted - <"$fifo" 3>&- &
	pid=$!
	exec 7>"$fifo"
	head -c 300000 "$FILES/root.tar" >&7
	until_true 10 compgen -G "$EMBER_STATE_DIR/tmp/i*:interrupted*/*" >/dev/null
	kill -INT "$pid"
	waited "$pid"
	exec 7>&-
	equal "$status" 130
	assert_no_processes
}

@test "a pipe that never ends, and is no image: refused by what it begins with" {
	expect 2 ember image import endless - < <(exec cat /dev/zero)
	explains "nothing that ember knows"
	expect 2 ember image import endless - < <(exec gzip -1c /dev/zero)
	explains "a gzip file with nothing that ember knows in it"
}

# It is ended, and its files are gone.
bomb_refused() {
	run --separate-stderr ember image "$@" 3>&-
	refused
	explains "$bomb"
	expect 3 ember image inspect bomb
	[ "$(find "$EMBER_STATE_DIR/tmp" -mindepth 1 | wc -l)" = 0 ]
}

@test "a few bytes that unpack to more than the disk holds: refused before it is full; zeros take no space" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local tiny=$BATS_TEST_TMPDIR/tiny files=$BATS_TEST_TMPDIR/files EMBER_STATE_DIR bomb="more in it than the disk has room for"

	mkdir "$tiny" "$files"
	mount -t tmpfs -o size=1g none "$tiny"
	EMBER_STATE_DIR=$tiny/state
	ember init >/dev/null
	truncate -s 8M "$files/disk"
	mkfs.ext4 -q "$files/disk"
	{ cat "$files/disk"; yes | head -c 1100M; } | zstd -q >"$files/full"
	bomb_refused import bomb "$files/full"
	bomb_refused import bomb - < <(exec zstd -dc "$files/full")
	"$BATS_TEST_DIRNAME/mkbomb" qcow2 "$files/bomb" 2048
	bomb_refused import bomb "$files/bomb"
	"$BATS_TEST_DIRNAME/mkbomb" archive "$files/bomb" 1100
	bomb_refused import bomb "$files/bomb"
	bomb_refused pull "docker-archive:$files/bomb" --name bomb
	{ cat "$files/disk"; head -c 1100M /dev/zero; } | zstd -q >"$files/empty"
	expect 0 ember image import hollow "$files/empty" 3>&-
	ember deinit --purge >/dev/null
	umount "$tiny"
}

@test "what reads a stranger's file for us reaches nothing else" {
	local confined=("$EMBER_BUILD/ember-image" confined)

	echo secret >"$FILES/secret"
	chmod 600 "$FILES/secret"
	# The sanitizers' runtimes do not mind: they are ember-image's, not the other program's.
	expect 0 "${confined[@]}" /bin/cat <"$FILES/secret"
	equal "$output" secret
	run ! "${confined[@]}" /bin/cat "$FILES/secret" 3>&-
	run ! "${confined[@]}" /bin/cp /dev/stdin "$FILES/other" <"$FILES/secret" 3>&-
	[ ! -e "$FILES/other" ]
	run ! "${confined[@]}" /usr/bin/python3 -c 'import socket; socket.socket()' 3>&-
	contains "$output" "not permitted"
	run -0 "${confined[@]}" /bin/sh -c 'ulimit -t; ulimit -v; ulimit -f; env' 3>&-
	[[ $output != *unlimited* && $output != *HOME=* ]]
	[ "$(id -u)" -ne 0 ] || equal "$("${confined[@]}" /usr/bin/id -u 3>&-)" 65534
	# With a file to fill, that one and no more than its size.
	truncate -s 1M "$FILES/target"
	run ! "${confined[@]}" /bin/dd if=/dev/zero of=/dev/fd/3 bs=1M count=2 conv=notrunc <"$FILES/secret" 3<>"$FILES/target"
	equal "$(stat -c %s "$FILES/target")" 1048576
	expect 0 "${confined[@]}" /bin/cp /dev/fd/0 /dev/fd/3 <"$FILES/secret" 3<>"$FILES/target"
	equal "$(cat "$FILES/target")" secret
	run ! "${confined[@]}" /bin/sh -c 'cat >/dev/fd/0' <"$FILES/secret" 3<>"$FILES/target"
}

@test "a config of one's own that is none" {
	tar -C "$BATS_TEST_DIRNAME" -cf "$BATS_TEST_TMPDIR/root.tar" lib.bash
	echo 'version: 0.1' >"$BATS_TEST_TMPDIR/reg.yml"
	expect 2 ember image import misled "$BATS_TEST_TMPDIR/root.tar" --config "$BATS_TEST_TMPDIR/reg.yml"
	explains "is not an OCI image config" "skopeo inspect --config"
}
