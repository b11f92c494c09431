from setuptools import find_packages, setup

setup(
    name="lens_jax",
    version="0.1.0",
    description="Self-supervised training with a lens that removes what the extractor exploits",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The configs are part of what is installed: --config=rotation is found from any folder.
    packages=[*find_packages(include=["lens_jax*"]), "lens_jax.configs"],
    package_dir={"lens_jax.configs": "configs"},
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8; sys_platform == 'linux'",
        "clu>=0.0.12,<0.1",
        "etils>=1.10",
        "flatbuffers>=24",  # needed by jax.export, which does not say so
        "flax>=0.12,<0.13",
        "grain>=0.2.15,<0.3",
        "importlib_resources>=6",  # needed by tensorflow-datasets, which does not say so
        "jax>=0.10,<0.12",
        "matplotlib>=3.9",
        "ml_collections>=1.1,<2",
        "numpy>=2.1",
        "opencv-python-headless>=4.10",
        "optax>=0.2.5,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "packaging>=24",
        "pillow>=11",
        "psutil>=6",
        "pyarrow>=18",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.13",
        "simplejpeg>=1.8",
        "tensorboard>=2.19",  # needed by clu's writers, which do not say so, as is TensorFlow
        "tensorflow-cpu>=2.19; sys_platform != 'darwin'",
        "tensorflow>=2.19; sys_platform == 'darwin'",
        "tensorflow-datasets>=4.9.9,<5",
        "threadpoolctl>=3.5",
    ],
    extras_require={
        "gpu": ["jax[cuda12]>=0.10,<0.12"],
        "tpu": ["jax[tpu]>=0.10,<0.12"],
        "video": ["av>=14"],
        "beam": ["apache-beam>=2.72"],
        "dev": ["av>=14", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "scikit-image>=0.25"],
    },
)
