# Images from a Containerfile: buildah and podman are the real ones, with a store of their own; docker, which needs a
# daemon, is played by tests/fake/docker.
load lib

setup_file() {
	new_state
	engine_store
	export PROJECT=$BATS_FILE_TMPDIR/project
	make_project
}

teardown_file() {
	drop_state
	rm -rf "$ENGINE_STORE"
}

teardown() {
	assert_no_leftovers
	assert_no_containers
}

# Two stages, an argument, a file that .dockerignore keeps out, and a step that takes long on demand.
make_project() {
	mkdir -p "$PROJECT/files"
	echo kept >"$PROJECT/files/kept"
	echo secret >"$PROJECT/files/ignored"
	echo '**/ignored' >"$PROJECT/.dockerignore"
	cat >"$PROJECT/Containerfile" <<-FILE
		FROM oci:$OCI/busybox:latest AS builder
		ARG GREETING=nobody
		RUN mkdir /made && echo "hello \$GREETING" >/made/greeting && date +%s%N >/made/when

		FROM oci:$OCI/busybox:latest
		ENV FLAVOR=vanilla
		COPY --from=builder /made /made
		COPY files /files
		RUN chown 1000:1000 /files/kept && chmod 4711 /files/kept
		WORKDIR /made
		VOLUME /data
	FILE
	cat >"$PROJECT/fails" <<-FILE
		FROM oci:$OCI/busybox:latest
		RUN printf '50%%\\r100%%\\n\\033[31mred\\033[0m\\n' && echo "about to fail" && sleep 1 && exit 3
	FILE
	export NAP=63.$$
	cat >"$PROJECT/waits" <<-FILE
		FROM oci:$OCI/busybox:latest
		RUN sleep $NAP
	FILE
}

# What a file of an image holds, without booting it.
in_image() {
	debugfs -R "cat $2" "$(ember image inspect "$1" --format json | jq -r .disk_path)" 2>/dev/null
}

@test "a Containerfile with stages, an argument and a .dockerignore becomes an image that boots" {
	cd "$PROJECT"
	expect 0 ember image build app --build-arg "GREETING=you there" .
	equal "$output" "Image 'app' built successfully."
	contains "$stderr" "FROM oci:$OCI/busybox:latest" "COPY files /files"
	expect 0 ember image inspect app --format json
	json ".reference == \"local:$PROJECT/Containerfile\" and .config.workdir == \"/made\""
	json '.config.env | index("FLAVOR=vanilla") and index("FROM_IMAGE=yes")'
	boot app app
	expect 0 ember exec app -- cat /made/greeting
	equal "$output" "hello you there"
	expect 0 ember exec app -- stat -c '%a %u:%g' /files/kept
	equal "$output" "4711 1000:1000"
	expect 1 ember exec app -- test -e /files/ignored
	ember vm delete --force app
}

@test "it leaves as the engine made it: each layer, its history, and what is not for VMs" {
	local archive=$BATS_TEST_TMPDIR/app.tar

	cd "$PROJECT"
	expect 0 ember image build app . --replace
	expect 0 ember image export app "$archive" --format json
	equal "$(jq -r .digest <<<"$output")" "$(ember image inspect app --format json | jq -r .digest)"
	expect 0 skopeo inspect --config "oci-archive:$archive"
	json '(.rootfs.diff_ids | length) >= 2 and .config.Volumes["/data"] and (.history | map(.created_by) | join(" ") | contains("COPY"))'
}

@test "a second build takes its steps from the engine's cache, unless it must not" {
	local first

	ember image build cached "$PROJECT"
	first=$(in_image cached /made/when)
	expect 0 ember image build again "$PROJECT"
	contains "$stderr" "Using cache"
	equal "$(in_image again /made/when)" "$first"
	expect 0 ember image build anew "$PROJECT" --no-cache
	[ "$(in_image anew /made/when)" != "$first" ]
	# The engine knows none of them by a name.
	equal "$(buildah images --format '{{.Name}}' | grep -v -e none -e "$OCI" -e busybox)" ""
}

@test "--target stops at a stage" {
	expect 0 ember image build stage "$PROJECT" --target builder --build-arg GREETING=stage
	equal "$(in_image stage /made/greeting)" "hello stage"
	equal "$(in_image stage /files/kept)" ""
	contains "$(ember image inspect stage)" "Containerfile#builder"
}

@test "--platform builds for another machine" {
	local context=$BATS_TEST_TMPDIR/context

	mkdir "$context"
	printf 'FROM scratch\nCOPY Containerfile /\n' >"$context/Containerfile"
	expect 0 ember image build foreign "$context" --platform linux/arm64
	equal "$(ember image inspect foreign --format json | jq -r .arch)" aarch64
}

@test "--build-arg KEY takes the value from the environment" {
	GREETING=environment expect 0 ember image build from-env "$PROJECT" --build-arg GREETING
	equal "$(in_image from-env /made/greeting)" "hello environment"
}

@test "-f is looked up from here, then in the context; Dockerfile is the other name" {
	local other=$BATS_TEST_TMPDIR/other

	mkdir -p "$other/files"
	echo other >"$other/files/kept"
	cd "$BATS_TEST_TMPDIR"
	cp "$PROJECT/Containerfile" here
	expect 0 ember image build by-here -f here other
	equal "$(in_image by-here /files/kept)" other
	expect 1 ember image build by-context -f fails "$PROJECT"
	explains "$PROJECT/fails"
	cp "$PROJECT/Containerfile" "$other/Dockerfile"
	expect 0 ember image build by-dockerfile other
	contains "$(ember image inspect by-dockerfile)" "$other/Dockerfile"
}

@test "a step that fails: its output, exit 1, and nothing left" {
	expect 1 ember image build broken "$PROJECT" -f fails
	explains "about to fail" "buildah could not build '$PROJECT/fails'" "buildah build" $'\n100%\nred\n'
	[[ $stderr != *$'\033'* ]]
	expect 3 ember image inspect broken
}

@test "what nobody saw is in the error: --quiet and JSON" {
	expect 0 ember -q image build silent "$PROJECT"
	equal "$output$stderr" ""
	expect 1 ember -q image build broken "$PROJECT" -f fails
	contains "$stderr" "  about to fail"
	expect 1 ember image build broken "$PROJECT" -f fails --format json
	equal "$stderr" ""
	json '.error.code == "failed" and (.error.detail | contains("about to fail"))'
	expect 0 ember image build spoken "$PROJECT" --format json
	json '.local_name == "spoken"'
	equal "$stderr" ""
}

@test "an image that is there is replaced only when that is asked for" {
	local before

	ember image build taken "$PROJECT"
	before=$(ember image inspect taken --format json | jq -r .id)
	expect 4 ember image build taken "$PROJECT"
	explains "exists already" "$PROJECT/Containerfile" "--replace"
	expect 1 ember image build taken "$PROJECT" -f fails --replace
	equal "$(ember image inspect taken --format json | jq -r .id)" "$before"
	expect 0 ember image build taken "$PROJECT" --replace
	[ "$(ember image inspect taken --format json | jq -r .id)" != "$before" ]
}

@test "the built-in image: here already, or made in another way" {
	expect 0 ember image build debian
	contains "$output" "already exists"
	expect 0 ember image build debian --variant minbase
	contains "$output" "already exists"
	expect 4 ember image build debian --variant dev
	explains "local:bookworm/minbase" "--replace"
	expect 4 ember image build debian --package jq
	expect 4 ember image build debian "$PROJECT"
}

# fake_apt LINE...: what apt-get says it fetches from; mmdebstrap tells its arguments and fails.
fake_apt() {
	local bin=$BATS_TEST_TMPDIR/bin

	mkdir -p "$bin"
	printf '#!/bin/sh\ncat <<END\n%s\nEND\n' "$(printf '%s\n' "$@")" >"$bin/apt-get"
	printf '#!/bin/sh\nprintf "%%s\\n" "$@" >&2\nexit 1\n' >"$bin/mmdebstrap"
	chmod +x "$bin/apt-get" "$bin/mmdebstrap"
	PATH=$bin:$PATH
}

# The lines of a sources.list that mmdebstrap was given.
sources() {
	# shellcheck disable=SC2154 # `run` sets it
	grep -o 'deb http.*' <<<"$stderr" | sort
}

@test "packages come from where the host's own apt takes them" {
	fake_apt 'http://mirror.corp/debian|bookworm|main|Debian' 'http://mirror.corp/debian|bookworm|main|Debian' \
		'http://mirror.corp/debian|bookworm-updates|main|$(ORIGIN)' \
		'https://mirror.corp/security|bookworm-security|main|Debian' \
		'http://mirror.corp/debian|bookworm|non-free-firmware|Debian' \
		'https://download.docker.com/linux/debian|bookworm|stable|Docker' \
		'https://other.example/debian|bookworm|main|Other' \
		'http://mirror.corp/debian|bookworm-backports|main|Debian' \
		'http://user:secret@mirror.corp/debian|bookworm|contrib|Debian' \
		'file:/srv/mirror|bookworm|main|Debian' 'http://mirror.corp/debian|trixie|main|Debian' 'rubbish' ''
	expect 1 ember image build mirrored
	explains "mmdebstrap could not make the Debian root"
	equal "$(sources)" "deb http://mirror.corp/debian bookworm main
deb http://mirror.corp/debian bookworm non-free-firmware
deb http://mirror.corp/debian bookworm-updates main
deb https://mirror.corp/security bookworm-security main"
	expect 1 ember image build mirrored --mirror http://mine.example/debian
	equal "$(sources)" ""
	contains "$stderr" http://mine.example/debian
	expect 1 ember image build mirrored --suite sid
	equal "$(sources)" ""
	# Updates alone make no system.
	fake_apt 'http://mirror.corp/debian|bookworm-updates|main|Debian'
	expect 1 ember image build mirrored
	equal "$(sources)" ""
}

@test "a package that nobody has, and a mirror that is none: apt's own words" {
	expect 1 ember image build lacking --package jq --package no-such-package
	explains "E: Unable to locate package no-such-package"
	expect 1 ember image build lacking --mirror http://127.0.0.1:1/debian
	explains "Could not connect to 127.0.0.1:1"
	[[ $stderr != *"I: "* ]]
}

@test "what makes no sense is refused before anything is touched" {
	local fresh=$BATS_TEST_TMPDIR/fresh

	expect 2 ember -s "$fresh" image build x --variant dev -f "$PROJECT/Containerfile"
	explains "--variant"
	expect 2 ember -s "$fresh" image build x --package jq "$PROJECT"
	explains "--package"
	expect 2 ember -s "$fresh" image build x --build-arg A=b
	explains "--build-arg needs a Containerfile" "-f FILE"
	expect 2 ember -s "$fresh" image build x --no-cache
	explains "--no-cache"
	expect 2 ember -s "$fresh" image build x --variant huge
	explains "minbase" "dev"
	expect 2 ember -s "$fresh" image build x --package 'jq,vim'
	explains "--package"
	expect 2 ember -s "$fresh" image build x --package=-o
	expect 2 ember -s "$fresh" image build x "$PROJECT" --platform windows/amd64
	explains "--platform"
	expect 2 ember -s "$fresh" image build x "$PROJECT/Containerfile"
	explains "is not a directory" "-f"
	expect 3 ember -s "$fresh" image build x "$BATS_TEST_TMPDIR/nowhere"
	explains "nowhere"
	expect 3 ember -s "$fresh" image build x "$PROJECT" -f nosuch
	explains "nosuch"
	expect 3 ember -s "$fresh" image build x "$BATS_TEST_TMPDIR"
	explains "neither a Containerfile nor a Dockerfile" "-f FILE"
	expect 2 ember -s "$fresh" image build '../x' "$PROJECT"
	expect 2 ember -s "$fresh" image build x "$PROJECT" --engine kaniko
	[ ! -e "$fresh" ]
}

@test "no engine, or not the one that was asked for: exit 7" {
	expect 7 env PATH=/nowhere "$EMBER" image build none "$PROJECT"
	explains "apt-get install buildah" "podman" "docker"
	expect 7 env PATH=/nowhere "$EMBER" image build none "$PROJECT" --engine podman
	explains "apt-get install podman"
	run --separate-stderr env PATH=/nowhere "$EMBER" doctor --format json
	json '.. | objects | select(.name? == "container engine") | tostring | contains("buildah")'
	expect 0 ember doctor --format json
	json '.. | objects | select(.name? == "container engine") | tostring | contains("built with buildah")'
}

sleeping() { pgrep -fx "sleep $NAP" >/dev/null; }

ended() { ! sleeping && ! pgrep -f "file $PROJECT/waits" >/dev/null; }

@test "Ctrl-C ends the engine and what it runs, and leaves nothing" {
	local engine command

	for engine in buildah podman; do
		"$EMBER" image build stopped "$PROJECT" -f waits --engine "$engine" >/dev/null 2>&1 3>&- &
		command=$!
		until_true 20 sleeping
		kill -INT "$command"
		waited "$command"
		equal "$status" 130
		until_true 2 ended
		assert_no_leftovers
		assert_no_containers
	done
}

@test "RUN --mount=type=cache keeps its files from build to build, where the engine has them" {
	local TMPDIR=$BATS_TEST_TMPDIR/elsewhere

	mkdir "$TMPDIR"
	export TMPDIR
	cat >"$PROJECT/caches" <<-FILE
		FROM oci:$OCI/busybox:latest
		RUN --mount=type=cache,target=/cache echo once >>/cache/log && cp /cache/log /log
	FILE
	ember image build caching "$PROJECT" -f caches
	ember image build caching "$PROJECT" -f caches --no-cache --replace
	equal "$(in_image caching /log)" $'once\nonce'
	run ls "$TMPDIR"
	[[ $output != *[0-9]* ]] || equal "$output" "buildah-cache"$'\n'"buildah-cache-$(id -u)"
	# One that somebody else made, or may write to, is not used.
	rm -r "$TMPDIR"/buildah-cache*
	mkdir -m 777 "$TMPDIR/buildah-cache"
	mkdir "$BATS_TEST_TMPDIR/trap"
	ln -s "$BATS_TEST_TMPDIR/trap" "$TMPDIR/buildah-cache-$(id -u)"
	expect 0 ember image build caching "$PROJECT" -f caches --no-cache --replace
	contains "$stderr" "warning: " "'$TMPDIR/buildah-cache' is not" "'$TMPDIR/buildah-cache-$(id -u)' is not"
	equal "$(in_image caching /log)" once
	equal "$(find "$BATS_TEST_TMPDIR/trap" "$TMPDIR/buildah-cache" -mindepth 1)" ""
}

# While files are copied, buildah dies of a signal without a look back.
@test "a build that is killed: nothing runs on, and the next command removes its working container" {
	local big=$BATS_TEST_TMPDIR/big command

	mkdir "$big"
	truncate -s 3G "$big/blob"
	printf 'FROM scratch\nCOPY blob /blob\n' >"$big/Containerfile"
	has_container() { [ -n "$(buildah containers --quiet)" ]; }
	"$EMBER" image build killed "$big" >/dev/null 2>&1 3>&- &
	command=$!
	until_true 20 has_container
	kill -9 "$command"
	# It may have been through with it; the file says that it has not.
	expect 0 ember reconcile
	contains "$output" "killed"
	assert_no_containers
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) == []'
}

@test "a working container of the user's own is none of our business" {
	local own

	own=$(buildah from "oci:$OCI/busybox:latest")
	ember image build beside "$PROJECT" -f fails || true
	equal "$(buildah containers --format '{{.ContainerName}}')" "$own"
	buildah rm "$own"
}

@test "podman builds the same" {
	expect 0 ember image build by-podman "$PROJECT" --engine podman --build-arg GREETING=podman
	contains "$stderr" "COPY files /files"
	equal "$(in_image by-podman /made/greeting)" "hello podman"
	expect 1 ember image build broken "$PROJECT" -f fails --engine podman --build-arg "A=it's here"
	contains "$stderr" "--build-arg 'A=it'\\''s here' --file $PROJECT/fails $PROJECT"
	explains "about to fail" "podman could not build"
}

@test "docker, when it is the only one" {
	local bin=$BATS_TEST_TMPDIR/bin program
	local -x FAKE_DOCKER_CALLS=$BATS_TEST_TMPDIR/calls

	mkdir "$bin"
	ln -s "$CLI_DIR/../fake/docker" "$bin/docker"
	ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$bin/python3"
	for program in skopeo env; do
		ln -s "$(command -v "$program")" "$bin/$program"
	done
	expect 0 env "PATH=$bin" "$EMBER" image build by-docker "$PROJECT" --no-cache --target builder \
		--platform linux/amd64 --build-arg A=1 --build-arg B=two
	contains "$stderr" "load build definition"
	output=$(jq -c 'select(.[0] == "build")' "$FAKE_DOCKER_CALLS")
	contains "$output" '"--build-arg","A=1","--build-arg","B=two","--target","builder"' \
		"\"--file\",\"$PROJECT/Containerfile\""
	json 'index("--isolation") == null and index("--layers") == null'
	contains "$(in_image by-docker /etc/passwd)" root
	expect 1 env "PATH=$bin" "$EMBER" image build broken "$PROJECT" -f fails
	explains "did not complete successfully" "docker could not build"
}
