"""What the PyTorch peers share: a tuned process, CLIP's transformer as functions of random weights, measurement.

A peer is never handicapped. Before torch is loaded the process restarts itself once with an allocator that reuses
memory, passive OpenMP waiting, the widest vector instructions, and every thread count set to --threads; all of it is
printed. Weights are random: time does not depend on their values.
"""
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = ROOT.parent / 'shared' / 'data'


BF16_PROBE = 'import torch; x = torch.ones(64, 64).bfloat16(); torch.nn.functional.linear(x, x)'


def openblas_core():
    """The processor that OpenBLAS takes this one for, or '' where another BLAS is installed."""
    out = subprocess.run([sys.executable, '-c', 'import numpy'], env={**os.environ, 'OPENBLAS_VERBOSE': '2'},
                         stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    found = re.search(r'^Core: (\w+)', out.stderr, re.M)
    return found.group(1) if found else ''


def tuned_environment(threads, dtype='f32'):
    try:
        flags = open('/proc/cpuinfo').read()
    except OSError:
        flags = ''
    count = str(threads)
    vectors = 'avx512' if ' avx512f ' in flags else 'avx2' if ' avx2 ' in flags else 'default'
    wanted = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': '60000000000', 'OMP_WAIT_POLICY': 'passive',
              'ATEN_CPU_CAPABILITY': vectors, 'OMP_NUM_THREADS': count, 'OPENBLAS_NUM_THREADS': count,
              'MKL_NUM_THREADS': count}
    # Where OpenBLAS does not recognise the processor (virtual machines) it falls back to SSE kernels, four times slower.
    core = {'avx512': 'SkylakeX', 'avx2': 'Haswell'}.get(vectors)
    if core and not os.environ.get('NEGOOD_PEER_RESTARTED') and not os.environ.get('OPENBLAS_CORETYPE'):
        if openblas_core() in ('Prescott', 'Core2', 'Penryn', 'Nehalem', 'generic'):
            os.environ['OPENBLAS_CORETYPE'] = core
    # Some virtual machines have AMX but hide the CPUID leaf in which oneDNN looks up its tile sizes; its bf16 products
    # then die of an illegal instruction. AVX-512 bf16 is the fastest that works there; the environment printed says so.
    if dtype == 'bf16' and not os.environ.get('NEGOOD_PEER_RESTARTED') and not os.environ.get('ONEDNN_MAX_CPU_ISA'):
        if subprocess.run([sys.executable, '-c', BF16_PROBE], stderr=subprocess.DEVNULL).returncode != 0:
            os.environ['ONEDNN_MAX_CPU_ISA'] = 'AVX512_CORE_BF16'
    for name in ('OPENBLAS_CORETYPE', 'ONEDNN_MAX_CPU_ISA'):
        if os.environ.get(name):
            wanted[name] = os.environ[name]
    return wanted


def restart_tuned(threads, dtype='f32'):
    """Sets the environment and starts this program again, unless it has it already."""
    wanted = tuned_environment(threads, dtype)
    if any(os.environ.get(k) != v for k, v in wanted.items()):
        if os.environ.get('NEGOOD_PEER_RESTARTED'):
            sys.exit('the environment of the peer could not be set')
        os.environ.update(wanted, NEGOOD_PEER_RESTARTED='1')
        os.execv(sys.executable, [sys.executable, *sys.argv])
    return wanted


def add_common_options(parser):
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--dtype', choices=['f32', 'bf16'], default='f32')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--activation', choices=['gelu', 'quick_gelu'], default='gelu',
                        help="gelu: OpenCLIP's weights, which the published code loads, and torch's faster kernel")
    parser.add_argument('--width', type=int, default=None)
    parser.add_argument('--layers', type=int, default=12)
    parser.add_argument('--seed', type=int, default=1)


def add_name_options(parser):
    parser.add_argument('--names', type=pathlib.Path, default=DATA / 'imagenet_classes.txt', help='one class a line')
    parser.add_argument('--vocabulary', type=pathlib.Path, default=DATA / 'bpe_simple_vocab_16e6.txt.gz')


def read_names(path, count):
    names = [line.strip().replace('_', ' ') for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    if len(names) < count:
        sys.exit(f'{path} has {len(names)} names, {count} are wanted')
    return names[:count]


def tokenizer(path):
    from bpe import Tokenizer
    return Tokenizer(path, merges=48894)


def measure(step, repeats):
    """Runs step once to warm up and then `repeats` times; medians of wall and CPU seconds, peak resident memory."""
    wall, user, system = [], [], []
    step()
    for _ in range(repeats):
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        last = step()
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_SELF)
        user.append(after.ru_utime - before.ru_utime)
        system.append(after.ru_stime - before.ru_stime)
    return {'median_s': statistics.median(wall), 'all_s': wall, 'user_s': statistics.median(user),
            'system_s': statistics.median(system),
            'peak_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 'result': last}


def report(peer, args, environment, **values):
    """One line of JSON."""
    import torch
    print(json.dumps({'peer': peer, 'torch': torch.__version__, 'torch_threads': torch.get_num_threads(),
                      'environment': environment,
                      'arguments': {k: str(v) if isinstance(v, pathlib.Path) else v for k, v in vars(args).items()},
                      **values}))


# ---------------------------------------------------------------- the network

class Transformer:
    """Pre-norm transformer with frozen random weights; heads are 64 wide."""

    def __init__(self, width, layers, dtype, activation, generator):
        import torch
        self.width, self.heads, self.activation = width, width // 64, activation
        d = width
        make = lambda std, *shape: (torch.randn(*shape, generator=generator) * std).to(dtype)
        norm = lambda: (torch.ones(d, dtype=dtype), torch.zeros(d, dtype=dtype))
        self.layers = [dict(ln_1=norm(), ln_2=norm(),
                            qkv=(make(d ** -0.5, 3 * d, d), make(0.01, 3 * d)),
                            out=(make(d ** -0.5 * (2 * layers) ** -0.5, d, d), make(0.01, d)),
                            fc=(make((2 * d) ** -0.5, 4 * d, d), make(0.01, 4 * d)),
                            proj=(make(d ** -0.5 * (2 * layers) ** -0.5, d, 4 * d), make(0.01, d)))
                       for _ in range(layers)]

    def __call__(self, x, mask=None):
        import torch
        import torch.nn.functional as F
        n, t, d = x.shape
        h, w = self.heads, d // self.heads
        fused = getattr(F, 'scaled_dot_product_attention', None)  # torch 2
        for layer in self.layers:
            a = F.linear(F.layer_norm(x, (d,), *layer['ln_1']), *layer['qkv'])
            q, k, v = a.view(n, t, 3, h, w).permute(2, 0, 3, 1, 4).unbind(0)
            if fused:
                o = fused(q, k, v, is_causal=mask is not None)
            else:
                q, k, v = (m.reshape(n * h, t, w) for m in (q, k, v))
                if mask is None:
                    scores = torch.bmm(q, k.transpose(1, 2)) * w ** -0.5
                else:
                    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=w ** -0.5)
                o = torch.bmm(scores.softmax(-1), v).view(n, h, t, w)
            x = x + F.linear(o.transpose(1, 2).reshape(n, t, d), *layer['out'])
            f = F.linear(F.layer_norm(x, (d,), *layer['ln_2']), *layer['fc'])
            # silu(1.702 x) / 1.702 is quick_gelu in one kernel instead of three
            f = F.gelu(f) if self.activation == 'gelu' else F.silu(f * 1.702) / 1.702
            x = x + F.linear(f, *layer['proj'])
        return x


class TextTower:
    """CLIP's text tower on padded prompts: `[n, context, d]` embedded rows to `[n, e]`."""

    def __init__(self, args, vocabulary, embedding=512, context=77):
        import torch
        g = torch.Generator().manual_seed(args.seed)
        d = args.width or 512
        self.dtype = torch.bfloat16 if args.dtype == 'bf16' else torch.float32
        self.width, self.context = d, context
        self.tokens = (torch.randn(vocabulary, d, generator=g) * 0.02).to(self.dtype)
        self.positions = (torch.randn(context, d, generator=g) * 0.01).to(self.dtype)
        self.blocks = Transformer(d, args.layers, self.dtype, args.activation, g)
        self.final = (torch.ones(d, dtype=self.dtype), torch.zeros(d, dtype=self.dtype))
        self.projection = (torch.randn(d, embedding, generator=g) * d ** -0.5).to(self.dtype)
        self.mask = torch.full((1, context, context), float('-inf'), dtype=self.dtype).triu(1)

    def pad(self, prompts):
        import torch
        for p in prompts:
            if len(p) > self.context:
                sys.exit(f'a prompt has {len(p)} tokens')
        return torch.tensor([p + [0] * (self.context - len(p)) for p in prompts])

    def __call__(self, rows, end):
        import torch
        import torch.nn.functional as F
        x = self.blocks(rows + self.positions, self.mask)
        x = x[torch.arange(len(x)), end]
        return F.layer_norm(x, (self.width,), *self.final) @ self.projection
