#!/usr/bin/env bash
# One run on one H100, at most LIMIT seconds (480), in the root of a checkout of the project; no network is needed.
# Wheels lie in ./.whl (diffusers, qoi, lmdb for the machine's Python); everything else the machine has. Logs go to $OUT (8 files).
#   OUT=out bash benchmarks/gpu_check.sh                       # on the GPU
#   DRY=1 SLOW=6 LIMIT=2400 READY_BY=1200 OUT=out bash benchmarks/gpu_check.sh   # the same through small networks on a CPU
#   DRY=imports OUT=out bash benchmarks/gpu_check.sh           # only whether all that it imports and collects is there
# A case's "first call" in its table contains the wait for its turn; the line "first call … compiling and recording" above it does not.
# CASES and EXTRA name benchmark cases (none if empty); SLOW multiplies all limits but the run's; SKIP="tests golden build micro" leaves steps out. A step that fails costs the others nothing.
set -u
BEGAN=$SECONDS LIMIT=${LIMIT:-480} SLOW=${SLOW:-1} OUT=${OUT:-gpu-out} DRY=${DRY:-} SKIP=" ${SKIP:-} "
CASES=${CASES-batch16-compiled batch1-graph turbo-batch16 tiles} EXTRA=${EXTRA-osediff-batch16 osediff-batch1 batch16-graph}
PY=${PY:-python3} ROOT=$PWD; mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd); export OUT
W=$(mktemp -d); export W
SITE=$W/site DEVICE=cuda TINY=; [ -n "$DRY" ] && DEVICE=cpu TINY=--tiny
export DEVICE DRY PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 HF_HUB_OFFLINE=1
export SRCACHE_HOME=$W/home TORCHINDUCTOR_CACHE_DIR=$W/inductor TORCHINDUCTOR_COMPILE_THREADS=${TORCHINDUCTOR_COMPILE_THREADS:-5} OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo none)}
left() { echo $((LIMIT - (SECONDS - BEGAN))); }
say() { echo "[$((SECONDS - BEGAN)) s] $*" | tee -a "$OUT/summary.txt"; }
want() { case "$SKIP" in *" $1 "*) return 1 ;; esac; }
# step NAME SECONDS LOG COMMAND…: runs with a limit of its own, and never longer than the run
step() {
  local name=$1 most=$(($2 * SLOW)) log=$3 rc; shift 3
  [ "$(left)" -lt 15 ] && { say "$name: left out, no time"; return 0; }
  [ "$most" -gt "$(left)" ] && most=$(left)
  timeout -k 5 "$most" "$@" >>"$log" 2>&1; rc=$?
  case $rc in 0) say "$name: ok" ;; 124|137) say "$name: STOPPED after $most s" ;; *) say "$name: FAILED, exit $rc; see $(basename "$log")" ;; esac
}
: >"$OUT/summary.txt"; : >"$OUT/bench.log"

# --- the project and its wheels on the path -----------------------------------------------------------------------------
if ls .whl/*.whl >/dev/null 2>&1; then
  $PY -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" .whl/*.whl || say "wheels: pip failed"
fi
$PY - "$SITE" <<'E' || exit 1
import sys, tomllib
from pathlib import Path
site = Path(sys.argv[1]); site.mkdir(parents=True, exist_ok=True)
tool = tomllib.loads(Path("pyproject.toml").read_text()); project = tool["project"]
for package, folder in tool["tool"]["setuptools"]["package-dir"].items():
    (site / package).exists() or (site / package).symlink_to(Path(folder).resolve())
info = site / f"{project['name']}-{project['version']}.dist-info"; info.mkdir(exist_ok=True)
(info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
(info / "entry_points.txt").write_text("".join(f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in e.items()) for g, e in groups.items()))
E
export PYTHONPATH=$SITE${PYTHONPATH:+:$PYTHONPATH}

# --- versions -----------------------------------------------------------------------------------------------------------
{ nvidia-smi 2>&1 | head -15; nproc; free -g | head -2; $PY - <<'E'
import importlib.metadata as m, platform, torch
print("python", platform.python_version())
for name in "torch torchvision triton diffusers transformers timm tokenizers huggingface_hub safetensors accelerate peft numpy pillow qoi lmdb srcache pytest hypothesis".split():
    try: print(name, m.version(name))
    except m.PackageNotFoundError: print(name, "MISSING")
print("cuda", torch.version.cuda, "cudnn", torch.backends.cudnn.version(), "available", torch.cuda.is_available())
if torch.cuda.is_available(): print(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), torch.cuda.mem_get_info())
import srcache, srcache_plugins.seesr; print("srcache from", srcache.__file__, srcache_plugins.seesr.__file__)
E
} >"$OUT/versions.txt" 2>&1; say "versions: $(grep -c MISSING "$OUT/versions.txt") missing"; grep MISSING "$OUT/versions.txt" | tee -a "$OUT/summary.txt"
[ -z "$DRY" ] && ! grep -q "available True" "$OUT/versions.txt" && { say "torch finds no GPU: stopping"; exit 1; }

# --- what single kernels reach, while nothing else runs -----------------------------------------------------------------
cat >"$W/micro.py" <<'E'
import os, torch, torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
if os.environ["DEVICE"] != "cuda": print("needs a GPU"); raise SystemExit(0)
h = torch.float16
def rate(name, act, flop=0.0, byte=0.0, n=20):
    try:
        for _ in range(3): act()
        a, b = (torch.cuda.Event(enable_timing=True) for _ in "ab"); a.record()
        for _ in range(n): act()
        b.record(); torch.cuda.synchronize(); s = a.elapsed_time(b) / 1e3 / n
        print(f"{name:70} {1e3 * s:8.3f} ms {flop / s / 1e12:7.0f} TFLOP/s {byte / s / 1e9:7.0f} GB/s")
    except Exception as e: print(f"{name:70} {type(e).__name__}: {str(e)[:120]}")
with torch.inference_mode():
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16); rate("product 8192, bf16", lambda: x @ x, 2 * 8192**3)
    y = torch.empty_like(x.repeat(8, 1)); z = torch.empty_like(y); rate("copy of 1 GB", lambda: z.copy_(y), 0, 2 * y.nbytes)
    for m, k, o in ((131072, 320, 320), (131072, 320, 960), (131072, 320, 2560), (131072, 1280, 320), (32768, 640, 5120), (32768, 2560, 640), (8192, 1280, 10240), (8192, 5120, 1280)):
        a, w = torch.randn(m, k, device="cuda", dtype=h), torch.randn(o, k, device="cuda", dtype=h); rate(f"linear {m} x {k} -> {o}, fp16", lambda: F.linear(a, w), 2 * m * k * o, 2 * (m * k + m * o + k * o))
        a8, w8, one = a.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn), torch.ones((), device="cuda"); rate("   in FP8 (torch._scaled_mm, one scale a tensor)", lambda: torch._scaled_mm(a8, w8.t(), one, one, out_dtype=h, use_fast_accum=True), 2 * m * k * o)
    for bench in (False, True):
        with torch.backends.cudnn.flags(enabled=True, benchmark=bench, deterministic=not bench, allow_tf32=False):
            for c, o, s in ((320, 320, 64), (640, 320, 64), (960, 320, 64), (640, 640, 32), (1920, 640, 32), (1280, 1280, 16), (2560, 1280, 16), (1280, 1280, 8)):
                a = torch.randn(32, c, s, s, device="cuda", dtype=h).to(memory_format=torch.channels_last); w = (torch.randn(o, c, 3, 3, device="cuda", dtype=h) / 50).to(memory_format=torch.channels_last)
                rate(f"conv 3x3 {c} -> {o} at {s}x{s}, 32 rows, NHWC, {'benchmark' if bench else 'deterministic, as the plug-in has it'}", lambda: F.conv2d(a, w, padding=1), 2 * 32 * s * s * 9 * c * o)
    for shape, keys in (((32, 5, 4096, 64), 4096), ((32, 10, 1024, 64), 1024), ((8, 5, 9216, 64), 9216), ((32, 5, 4096, 64), 145), ((1, 1, 4096, 512), 4096)):
        b, n, t, d = shape; q = torch.randn(b, t, n * d, device="cuda", dtype=h).view(b, t, n, d).transpose(1, 2); k = torch.randn(b, keys, n * d, device="cuda", dtype=h).view(b, keys, n, d).transpose(1, 2)
        print("choice for", shape, keys, SDPBackend(torch._fused_sdp_choice(q, k, k)))
        for kind in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
            with sdpa_kernel(kind): rate(f"   attention {shape} x {keys} by {kind.name}", lambda: F.scaled_dot_product_attention(q, k, k), 4 * b * n * t * keys * d)
    for c, s in ((320, 64), (640, 32), (1280, 16)):
        a = torch.randn(32, c, s, s, device="cuda", dtype=h).to(memory_format=torch.channels_last); g = torch.nn.GroupNorm(32, c).to("cuda", h)
        rate(f"group norm and SiLU, eager, NHWC {c} at {s}x{s}, 32 rows", lambda: F.silu(g(a)), 0, 2 * a.nbytes)
    t = torch.randn(4096, 1536, device="cuda"); u = torch.randn(6144, 1536, device="cuda"); rate("linear of the tagger, float32", lambda: F.linear(t, u), 2 * 4096 * 1536 * 6144)
    torch.backends.cuda.matmul.allow_tf32 = True; rate("   in TF32", lambda: F.linear(t, u), 2 * 4096 * 1536 * 6144)
E
[ "$DRY" != imports ] && want micro && step micro 40 "$OUT/micro.log" $PY "$W/micro.py"

# --- benchmark cases: all start, load, compile and record at once, then wait for their turn to be timed ------------------
cat >"$W/case.py" <<'E'
"""One case of the project's own benchmark. After its first call (compiling, recording) it waits for $W/turn.NAME."""
import os, sys, time
from pathlib import Path
sys.path.insert(0, os.getcwd())
import torch
from benchmarks import bench_seesr as bench, seesr_gpu as gpu, seesr_measure as measure
if os.environ["DRY"] == "imports":
    bench.main, gpu.CaseRunner.call, gpu.CaseRunner.predicted, gpu.CaseRunner.images, measure.OperationCounter.ours
    sys.exit()
name, words, W = sys.argv[1], sys.argv[2:], Path(os.environ["W"])
def report(text): print(f"# {name}: {text}", flush=True)
try:
    plain, ours, predicted, kept = gpu.CaseRunner.call, measure.OperationCounter.ours, gpu.CaseRunner.predicted, {}
    def once(what, act):  # counted ahead of the turn, used in it
        if what not in kept: kept[what] = act()
        return kept[what]
    measure.OperationCounter.ours = lambda self: once((self.latent.shape[-1], self.guidance, bool(self.windows)), lambda: ours(self))
    gpu.CaseRunner.predicted = lambda self: once("memory", lambda: predicted(self))
    def call(self, *given):
        if kept.get("called"): return plain(self, *given)
        kept["called"] = True
        started = time.perf_counter(); one, other = self.images(), self.images(); n = len(one)
        first = self.engine.upscale(one, list(range(n)))
        report(f"first call {time.perf_counter() - started:.1f} s, compiling and recording, others beside it")
        if n > 1:  # the first image again, elsewhere in the batch and in other company
            other[n // 2], seeds = one[0], [100 + k for k in range(n)]; seeds[n // 2] = 0
            again = self.engine.upscale(other, seeds)[n // 2]
            same = (first[0].image == again.image).float().mean().item()
            report(f"an image at another place of the batch: {'the same bits' if same == 1 else f'NOT the same: {100 * same:.3f} % of values are'}")
        self.predicted(); measure.OperationCounter(self.run.sizes, self.shape.size[0] // 2, self.shape.guidance, self.shape.windows()).ours()
        (W / f"ready.{name}").touch()
        while not (W / f"turn.{name}").exists(): time.sleep(0.2)
        return plain(self)
    gpu.CaseRunner.call = call
except AttributeError as error:
    report(f"runs as it is, names have changed: {error}"); (W / f"ready.{name}").touch()
sys.exit(bench.main(["--case", name, *words]))
E
begin() {
  $PY "$W/case.py" "$1" --device "$DEVICE" $TINY --repeats "${REPEATS:-1}" --again --history "$OUT/history.csv" --commit "$COMMIT" --out "$OUT" >"$W/$1.log" 2>&1 &
  echo $! >"$W/pid.$1"
}
# turn NAME SECONDS: lets a case be timed alone
turn() {
  local name=$1 most=$(($2 * SLOW)) pid until; pid=$(cat "$W/pid.$name"); until=$((SECONDS + most))
  [ -e "$W/ready.$name" ] || { kill "$pid" 2>/dev/null; say "$name: NOT READY: it failed, or compiles too long; see bench.log"; cat "$W/$name.log" >>"$OUT/bench.log"; tail -n 2 "$W/$name.log" | cut -c1-300 | tee -a "$OUT/summary.txt"; return; }
  touch "$W/turn.$name"
  while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $until ] && [ "$(left)" -gt 3 ]; do sleep 0.5; done
  if kill -0 "$pid" 2>/dev/null; then kill "$pid" 2>/dev/null; sleep 1; kill -9 "$pid" 2>/dev/null; say "$name: STOPPED while it was timed"; else wait "$pid"; rc=$?; say "$name: $([ $rc = 0 ] && echo "ok, bars met" || { [ $rc = 1 ] && echo "done, a bar MISSED (or it failed)" || echo "FAILED, exit $rc"; })"; fi
  { echo; cat "$W/$name.log"; } >>"$OUT/bench.log"; grep -E "time per image|rate of the steps|peak reserved|another place|waiting for the host|Error" "$W/$name.log" | cut -c1-170 | tee -a "$OUT/summary.txt"
}
if [ "$DRY" = imports ]; then CASES='' EXTRA='' SKIP=" build "; step "imports of the cases" 60 "$OUT/bench.log" $PY "$W/case.py" none
else for name in $CASES; do begin "$name"; done; say "cases begun: $CASES"; fi

# --- correctness, meanwhile ----------------------------------------------------------------------------------------------
if want tests; then
  FILES=$(grep -rl --include='test_*.py' "pytest.mark.gpu" tests)
  if [ -z "$FILES" ]; then say "gpu tests: THERE ARE NONE"; else
    ONLY=; [ -n "$DRY" ] && ONLY=--collect-only
    step "gpu tests ($(echo $FILES | wc -w) files)" 90 "$OUT/tests.log" $PY -m pytest -m gpu $ONLY $FILES -p no:cacheprovider -v -rA --tb=short --durations=5
    grep -E "^(FAILED|ERROR)|passed|failed" "$OUT/tests.log" | cut -c1-200 | tee -a "$OUT/summary.txt"
  fi
fi
cat >"$W/golden.py" <<'E'
"""The golden cases on a device: float32 within their tolerances, half precision as far as it gets; eager and recorded."""
import os, sys, tempfile, time, warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
warnings.simplefilter("ignore"); sys.path[:0] = [os.path.join(os.getcwd(), "tests/support"), os.getcwd()]
import torch
from seesr_fixtures import RecordedNoise, case, cases, parts, weights
from srcache.engine import Failure, Tiling
import osediff_fixtures as O
from srcache_plugins.osediff import loading as OL
from srcache_plugins.osediff import pipeline as OP
from srcache_plugins.seesr import pipeline as P
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.stable_diffusion.networks.denoiser import Conditioning, UNet
from srcache_plugins.seesr.loading import DTYPES, Loading, load_networks
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet
from srcache_plugins.seesr.sampling.sampler import Prompts
from srcache_plugins.stable_diffusion.windows import lay_windows
if os.environ["DRY"] == "imports": P.Pipeline.sample, P.Pipeline.upscale, P.NoiseSource, P.Settings; sys.exit()
D = torch.device(os.environ["DEVICE"]); cuda = D.type == "cuda"; bad = 0
@cache
def networks(dtype, scale, tiles, antialias):
    with tempfile.TemporaryDirectory() as folder:
        return load_networks(parts(Path(folder), case("g_e2e_tiled_all_72x50")[0]["scheduler"]), Loading(device=D, dtype=dtype, conditioning_scale=scale, encoder_tile=tiles[0], decoder_tile=tiles[1], antialias=antialias))
def loaded(scheduler, dtype, scale=1.0, tiles=(1024, 224), antialias=True):
    return replace(networks(dtype, scale, tiles, antialias), scheduler=scheduler)
def settings(kind, **given):
    return P.Settings(**dict(scale=4, process_size=128, prompt="", added_prompt="", negative_prompt="", parity=True, precision=kind, color_fix=None) | given)
def report(kind, name, text, ok=True):
    global bad; bad += not ok; print(f"{kind} {name:34} {text}{'' if ok else '   BEYOND'}", flush=True)
def forward(kind, name):
    meta, t = case(name); letter = meta["weights"][0][-1]
    place = dict(device=D, dtype=DTYPES[kind], memory_format=torch.channels_last if cuda else torch.contiguous_format)
    unet, control = UNet(load_unet(*weights(f"unet_{letter}"))).to(**place), ControlNet(load_controlnet(*weights(f"controlnet_{letter}")), meta["conditioning_scale"]).to(**place)
    to = lambda x: x.to(D, DTYPES[kind])
    both = [Conditioning(n.times([int(t["in.timestep"])])[0], n.text(to(t["in.text"])), n.images(to(t["in.ram_embeds"]))) for n in (unet, control)]
    noise = unet(to(t["in.sample"]), both[0], control(to(t["in.sample"]), control.embedding(to(t["in.cond_image"])), both[1]))
    away, most = (noise.cpu().float() - t["out.unet"]).abs().max().item(), meta["tolerance"]["max_abs"]
    report(kind, name, f"{away:.2g} of {most:.2g}", kind != "fp32" or away <= most)
def loop(kind, name):
    meta, t = case(name); call = meta["call"]
    nets = loaded(meta["scheduler"], DTYPES[kind], call["conditioning_scale"])
    tiling = Tiling(size=call["tile"], overlap=call["overlap"]); size = tuple(t["rand.initial"].shape[-2:]); windows = lay_windows(*size, tiling)
    if meta["prompt"] is not None: negative, positive = nets.text.encode([meta["negative_prompt"], meta["prompt"]]).split(1)
    else: negative, positive = t["in.negative_prompt_embeds"], t["in.prompt_embeds"]
    found = {}
    for mode in ("eager", "recorded") if cuda else ("eager",):
        stand = SimpleNamespace(unet=nets.unet, controlnet=nets.controlnet, vae=nets.vae, text=SimpleNamespace(encode=lambda texts: negative.to(D)), scheduler=meta["scheduler"])
        noise = RecordedNoise([x.to(D) for x in (t["rand.initial"], *t["rand.steps"])], t["rand.posterior"].to(D) if "rand.posterior" in t else None)
        pipe = P.Pipeline(stand, settings(kind, steps=call["steps"], guidance=call["guidance"], start=call["start_point"], tiling=tiling), D, mode, GraphedCallable if mode == "recorded" else None, lambda *_: noise)
        found[mode] = pipe.sample(t["in.image"].permute(2, 0, 1)[None].to(D), Prompts(positive.to(D), t["in.ram_embeds"].to(D)), [0], windows) * nets.vae.scaling_factor
    wanted = t["expect.latents_per_step"][-1]; away = ((found["eager"].cpu() - wanted).abs().max() / t["expect.latents_per_step"].abs().max()).item(); most = meta["tolerance"]["latents_rel_to_max"]
    same = "" if not cuda else f"; recorded {'same bits' if torch.equal(found['eager'], found['recorded']) else 'OTHER bits by %.2g' % (found['eager'] - found['recorded']).abs().max().item()}"
    report(kind, name, f"last latent {away:.2g} of the largest ({most:.2g} allowed on a CPU){same}", (kind != "fp32" or away <= 4 * most) and "OTHER" not in same)
def complete(kind, name):
    meta, t = case(name); g = meta["args"]
    nets = loaded(meta["scheduler"], DTYPES[kind], g["conditioning_scale"], (g["vae_encoder_tile_px"], g["vae_decoder_tile_latent"]), g["ram_resize_antialias"])
    chosen = settings(kind, scale=g["upscale"], process_size=g["process_size"], steps=g["num_inference_steps"], guidance=g["guidance_scale"], start=g["start_point"], prompt=g["user_prompt"], added_prompt=g["added_prompt"], negative_prompt=meta["negative_prompt"], tiling=Tiling(size=g["latent_tile"], overlap=g["latent_overlap"]), color_fix=g["align_method"])
    noise = RecordedNoise([x.to(D) for x in (t["rand.initial"], *t["rand.steps"])], t["rand.posterior"].to(D))
    pipe = P.Pipeline(nets, chosen, D, "recorded", GraphedCallable if cuda else None, lambda *_: noise)
    (made,) = pipe.upscale(t["in.image_uint8"].permute(2, 0, 1)[None].float() / 255, [g["seed"]])
    if isinstance(made, Failure): return report(kind, name, repr(made), False)
    away = ((made.image * 255).round().permute(1, 2, 0) - t["expect.out_uint8"].float()).abs()
    report(kind, name, f"prompt {'same' if made.notes['prompt'] == meta['prompt'] else 'OTHER: ' + made.notes['prompt']}; values within 1: {100 * (away <= 1).float().mean():.2f} %, largest {away.max():.0f} of {meta['tolerance']['out_uint8_max']}; decoded in {made.notes['decoded_in']}", (kind != "fp32" or away.max() <= meta["tolerance"]["out_uint8_max"]) and made.notes["prompt"] == meta["prompt"])
@cache
def one_step_networks(dtype, tiles):
    with tempfile.TemporaryDirectory() as folder:
        return OL.load_networks(O.parts(Path(folder)), OL.Loading(device=D, dtype=dtype, encoder_tile=tiles[0], decoder_tile=tiles[1], antialias=False))
def one_step(kind, name):
    meta, t = O.case(name); g = meta["args"]; seen = []
    nets = one_step_networks(DTYPES[kind], (g["vae_encoder_tiled_size"], g["vae_decoder_tiled_size"]))
    chosen = OP.Settings(scale=g["upscale"], process_size=g["process_size"], prompt=g["prompt"], parity=True, precision=kind, color_fix=None, tiling=Tiling(size=g["latent_tiled_size"], overlap=g["latent_tiled_overlap"]))
    pipe = OP.Pipeline(nets, chosen, D, "recorded", GraphedCallable if cuda else None, lambda *_: RecordedNoise([], t["rand.posterior"].to(D)))
    decode = pipe.decode; pipe.decode = lambda latents: seen.extend(decode(latents)) or seen
    (made,) = pipe.upscale(t["in.image_uint8"].permute(2, 0, 1)[None].float() / 255, [1])
    if isinstance(made, Failure): return report(kind, name, repr(made), False)
    away, same = (seen[0][0].cpu().permute(1, 2, 0).int() - t["expect.raw_uint8"].int()).abs(), made.notes["prompt"] == meta["prompt"]
    report(kind, name, f"OSEDiff: prompt {'same' if same else 'OTHER: ' + made.notes['prompt']}; values that differ: {100 * (away > 0).float().mean():.2f} %, largest {away.max()}; decoded in {made.notes['decoded_in']}", (kind != "fp32" or away.max() <= 2) and same)
began = time.time()
with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
    for kind in ("fp32", "fp16", "bf16") if cuda else ("fp32", "bf16"):
        for prefix, act in (("a_unet", forward), ("d_loop", loop), ("e_tiled", loop), ("g_e2e", complete)):
            for name in cases(prefix)[: None if cuda else 1]:
                try: act(kind, name)
                except Exception as error: report(kind, name, f"{type(error).__name__}: {str(error)[:300]}", False)
        for name in O.cases("f_e2e")[: None if cuda else 1]:
            try: one_step(kind, name)
            except Exception as error: report(kind, name, f"{type(error).__name__}: {str(error)[:300]}", False)
print(f"{bad} beyond, {time.time() - began:.0f} s"); sys.exit(bad > 0)
E
want golden && { step "golden cases on $DEVICE, fp32 fp16 bf16" 100 "$OUT/golden.log" $PY "$W/golden.py"; grep -E "BEYOND|beyond" "$OUT/golden.log" | cut -c1-220 | tee -a "$OUT/summary.txt"; }
cat >"$W/build.sh" <<'E'
# The complete program with seesr-tiny and osediff-tiny: service threads, padding, store, records; and one image alone is the stored one.
set -e; cd "$W"; S="$PY -m srcache_cli.main"
$PY - <<'P'
import numpy as np; from PIL import Image; from pathlib import Path
Path("photos").mkdir(); r = np.random.default_rng(0)
for n in range(12):
    a = r.integers(0, 256, (6, 6, 3), np.uint8); Image.fromarray(a).resize((32 + 8 * (n % 2), 32), Image.Resampling.BICUBIC).save(f"photos/{n:02}.png")
P
$S doctor || true
$S build photos --cache cache --recipe seesr-tiny --set precision=${HALF:-fp16} --device "$DEVICE"; $S verify cache; $S info cache
$S build photos --cache onestep --recipe osediff-tiny --set precision=${HALF:-fp16} --device "$DEVICE"; $S verify onestep
$S export cache out --names
$S upscale photos/03.png --recipe seesr-tiny --set precision=${HALF:-fp16} --device "$DEVICE" --out one
$PY - <<'P'
import numpy as np; from PIL import Image; from pathlib import Path
one = np.asarray(Image.open("one/03.png")); found = [p for p in Path("out").rglob("*.png") if np.asarray(Image.open(p)).shape == one.shape]
same = [p for p in found if np.array_equal(np.asarray(Image.open(p)), one)]
print("upscale of one image is the stored one:", bool(same), [str(p) for p in same]); raise SystemExit(not same)
P
E
export PY; [ -n "$DRY" ] && export HALF=bf16
want build && step "srcache build, verify, export, upscale on $DEVICE" 100 "$OUT/build.log" bash "$W/build.sh"

# --- turns ----------------------------------------------------------------------------------------------------------------
READY=$((BEGAN + ${READY_BY:-270}))
while [ $SECONDS -lt $READY ]; do
  waiting=0; for name in $CASES; do [ -e "$W/ready.$name" ] || { kill -0 "$(cat "$W/pid.$name")" 2>/dev/null && waiting=1; }; done
  [ $waiting = 0 ] && break; sleep 0.5
done
for name in $CASES; do [ -e "$W/ready.$name" ] || kill "$(cat "$W/pid.$name")" 2>/dev/null; done; say "turns begin"
for name in $CASES; do
  case $name in batch16*) most=140 ;; batch8*) most=90 ;; *) most=60 ;; esac
  turn "$name" "$most"
done
for name in $EXTRA; do
  [ "$(left)" -lt 75 ] && { say "$name: left out, no time"; continue; }
  begin "$name"; until=$((SECONDS + 60 * SLOW)); while [ ! -e "$W/ready.$name" ] && [ $SECONDS -lt $until ] && kill -0 "$(cat "$W/pid.$name")" 2>/dev/null; do sleep 0.5; done
  turn "$name" "$(left)"
done
say "done; logs in $OUT"; rm -rf "$W"
! grep -q "FAILED\|THERE ARE NONE" "$OUT/summary.txt"
